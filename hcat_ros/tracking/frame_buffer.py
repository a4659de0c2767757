# SPDX-License-Identifier: Apache-2.0
"""The last frames, so that a target can be named on one that has passed already."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from hcat_ros.tracking.encodings import Image


class StampedFrame(NamedTuple):
    """A frame as it came."""

    stamp: int
    """Nanoseconds."""
    header: Any
    """std_msgs/Header of the image, or what has its `frame_id`."""
    image: Image
    encoding: str
    is_frozen: bool = False
    """Whether the camera repeats an old picture, in which no target is where it is now."""

    @property
    def frame_id(self) -> str:
        """Frame of the header."""
        return str(self.header.frame_id)


MOST_FRAMES = 10_000
"""Most frames kept: of images of a few pixels the headers alone would fill the memory."""


class FrameBuffer:
    """Keeps the newest frames, in the order of their stamps, within a limit of bytes.

    The newest one is kept even if it alone is over the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._frames: deque[StampedFrame] = deque()
        self._bytes = 0

    def append(self, frame: StampedFrame) -> None:
        """Add a frame; if its stamp is not after the newest one's, the others go: time jumped."""
        if self._frames and frame.stamp <= self._frames[-1].stamp:
            self.clear()
        self._frames.append(frame)
        self._bytes += frame.image.nbytes
        while len(self._frames) > 1 and (
            self._bytes > self.max_bytes or len(self._frames) > MOST_FRAMES
        ):
            self._bytes -= self._frames.popleft().image.nbytes

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def oldest(self) -> StampedFrame | None:
        """The frame kept longest."""
        return self._frames[0] if self._frames else None

    @property
    def newest(self) -> StampedFrame | None:
        """The frame that came last."""
        return self._frames[-1] if self._frames else None

    def nearest(self, stamp: int) -> StampedFrame | None:
        """Return the frame whose stamp is nearest, None if there is no frame."""
        return min(self._frames, key=lambda frame: abs(frame.stamp - stamp), default=None)

    def after(self, stamp: int) -> list[StampedFrame]:
        """Return the frames later than `stamp`, oldest first."""
        return [frame for frame in self._frames if frame.stamp > stamp]
