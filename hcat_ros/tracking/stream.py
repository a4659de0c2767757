# SPDX-License-Identifier: Apache-2.0
"""Tells the next image of a stream from a late one and from one of another camera."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

from hcat_ros.files import shown
from hcat_ros.tracking.encodings import Image

PATIENCE = 1.0
"""Seconds for which a stream must be gone before another one takes its place."""


class Stamped(Protocol):
    """An image, its time and where it is from."""

    @property
    def stamp(self) -> int:
        """Nanoseconds."""

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
    """Neither track nor keep it: a newer one was here, or it is too old."""
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
    """Size and frame that all images of one camera have."""

    width: int
    height: int
    frame_id: str

    def __str__(self) -> str:
        return f'{self.width}x{self.height} of frame {shown(self.frame_id)}'


class ImageStream:
    """Watches stamps, sizes and frames of the images of one topic.

    The first image with an older stamp is always treated as late. If older stamps go on and nothing
    newer has come for `PATIENCE`, time has jumped back, as when a clock is set or a bag plays
    again. Jumps forward are taken as they are. Images of another size or frame are another
    camera's, or another view of the same one, in which no position still holds: they take over when
    those of the first have been gone for `PATIENCE`.
    """

    def __init__(self) -> None:
        self.view: CameraView | None = None
        """Size and frame of the present stream."""
        self._newest = 0
        self._advanced = self._seen = 0.0
        """When the newest stamp came, and when any image of the view did."""
        self._late = False

    def turn(self, frame: Stamped, arrival: float) -> tuple[Turn, str]:
        """Take the next image; return what to do with it and why, empty if it goes on.

        arrival: seconds of a clock that is never set, or the time of recording.
        """
        view = CameraView(frame.image.shape[1], frame.image.shape[0], frame.frame_id)
        before = self.view
        if before is not None and view != before:
            if 0 <= arrival - self._seen < PATIENCE:
                return Turn.FOREIGN, f'image is {view}; those that are {before} are tracked'
            self._take(frame, view, arrival)
            return Turn.BEGINS, f'images are {view} now, were {before}'
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
