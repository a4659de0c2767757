# SPDX-License-Identifier: Apache-2.0
"""Decides whether an image continues the stream, is late, or comes from another camera."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

from hcat_ros.files import shown
from hcat_ros.tracking.encodings import Image

PATIENCE = 1.0
"""Seconds without an image of the present stream before another stream replaces it."""


class Stamped(Protocol):
    """An image with its stamp and frame."""

    @property
    def stamp(self) -> int:
        """Stamp of the image, nanoseconds."""

    @property
    def frame_id(self) -> str:
        """Frame of the message's header."""

    @property
    def image(self) -> Image:
        """Pixels, (H, W) or (H, W, channels)."""


class Turn(Enum):
    """Treatment of an image."""

    GOES_ON = 'goes on'
    """Track it."""
    LATE = 'late'
    """Neither track nor keep it: a newer image has come before, or it is too old."""
    FOREIGN = 'foreign'
    """Neither track nor keep it: it shows another view than the present stream."""
    JUMPED = 'jumped'
    """Track it, but forget the frames before: their stamps are from before the clock jumped."""
    BEGINS = 'begins'
    """Drop all targets first: from here on the images show another view."""

    @property
    def is_passed_over(self) -> bool:
        """Whether the image is neither tracked nor kept."""
        return self in (Turn.LATE, Turn.FOREIGN)


class CameraView(NamedTuple):
    """Image size and frame, which are the same for all images of one camera."""

    width: int
    height: int
    frame_id: str

    def __str__(self) -> str:
        return f'{self.width}x{self.height} of frame {shown(self.frame_id)}'


class ImageStream:
    """Watches stamps, sizes and frames of the images of one topic.

    The first image with an older stamp always counts as late. If older stamps continue and no newer
    one has come for `PATIENCE`, time has jumped back, for example because a clock was set or a bag
    was restarted. Jumps forward are accepted. Images of another size or frame come from another
    camera or show another view, in which earlier positions are invalid: they take over when the
    present stream has sent no image for `PATIENCE`.
    """

    def __init__(self) -> None:
        self.view: CameraView | None = None
        """Size and frame of the present stream."""
        self._newest = 0
        self._advanced = self._seen = 0.0
        """Arrival times of the image with the newest stamp and of the last image of the view."""
        self._late = False

    def turn(self, frame: Stamped, arrival: float) -> tuple[Turn, str]:
        """Take the next image; return its treatment and the reason, empty for `GOES_ON`.

        arrival: arrival time by a monotonic clock, or the recording time, seconds.
        """
        view = CameraView(frame.image.shape[1], frame.image.shape[0], frame.frame_id)
        before = self.view
        if before is not None and view != before:
            if 0 <= arrival - self._seen < PATIENCE:
                return Turn.FOREIGN, f'image is {view}; the tracked stream is {before}'
            self._take(frame, view, arrival)
            return Turn.BEGINS, f'images are now {view}; before they were {before}'
        back = (self._newest - frame.stamp) / 1e9
        if before is None or back <= 0:
            self._take(frame, view, arrival)
            return Turn.GOES_ON, ''
        if not self._late or 0 <= arrival - self._advanced < PATIENCE:
            self._late, self._seen = True, arrival
            return Turn.LATE, f'image is {back:.3f} s older than the newest one: not tracked'
        self._take(frame, view, arrival)
        return Turn.JUMPED, f'image stamps jumped back by {back:.3f} s'

    def _take(self, frame: Stamped, view: CameraView, arrival: float) -> None:
        self.view, self._newest, self._late = view, frame.stamp, False
        self._advanced = self._seen = arrival
