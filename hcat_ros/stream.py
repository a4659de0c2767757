# SPDX-License-Identifier: Apache-2.0
"""What an image is to those before it: the next one, one that comes late, a new beginning."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from hcat_ros.tracking.encodings import Image

LATE = 1.0
"""Seconds. A stamp further back than this is no image out of order."""


class Stamped(Protocol):
    """An image and its time."""

    @property
    def stamp(self) -> int:
        """Nanoseconds."""

    @property
    def image(self) -> Image:
        """Pixels, (H, W) or (H, W, channels)."""


class Turn(Enum):
    """What to do with an image."""

    GOES_ON = 'track it'
    PASSED_OVER = 'neither track nor keep it'
    BEGINS = 'drop the target first: what is known of it is of another time or size'


class ImageStream:
    """Watches stamps and sizes of the images of one topic.

    A stamp before the newest one is a single image out of order, or time has jumped back, as when
    a bag plays again: that it has if it is more than `LATE` back or the next image is late too.
    Images of another size are another view, in which no position still holds.
    """

    def __init__(self) -> None:
        self._newest: int | None = None
        self._size = (0, 0)
        self._late = False

    def turn(self, frame: Stamped) -> tuple[Turn, str]:
        """Take the next image; return what to do with it and why, empty if it goes on."""
        size = (frame.image.shape[1], frame.image.shape[0])
        back = 0.0 if self._newest is None else (self._newest - frame.stamp) / 1e9
        reason = ''
        if back > 0:
            if back <= LATE and not self._late:
                self._late = True
                return (
                    Turn.PASSED_OVER,
                    f'image is {back:.3f} s older than the one before: not tracked',
                )
            reason = f'image stamps jumped back by {back:.3f} s'
        elif self._newest is not None and size != self._size:
            reason = 'images are {}x{} now, were {}x{}'.format(*size, *self._size)
        self._newest, self._size, self._late = frame.stamp, size, False
        return (Turn.BEGINS, reason) if reason else (Turn.GOES_ON, '')
