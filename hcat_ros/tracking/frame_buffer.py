# SPDX-License-Identifier: Apache-2.0
"""Keeps the last frames, so that a target can be named on a frame that has already passed."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from hcat_ros.tracking.encodings import Image


class StampedFrame(NamedTuple):
    """A frame with the stamp and header of its message."""

    stamp: int
    """Stamp of the image, nanoseconds."""
    header: Any
    """std_msgs/Header of the image, or another object with a `frame_id`."""
    image: Image
    encoding: str
    is_frozen: bool = False
    """Whether the camera repeats an old picture, which does not show where targets are now."""

    @property
    def frame_id(self) -> str:
        """Frame id of the header."""
        return str(self.header.frame_id)


MOST_FRAMES = 10_000
"""Maximum number of frames: with tiny images, the headers alone could fill the memory."""


class FrameBuffer:
    """Keeps the newest frames, in the order of their stamps, within a limit of bytes.

    The newest frame is kept even if it alone exceeds the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._frames: deque[StampedFrame] = deque()
        self._bytes = 0

    def append(self, frame: StampedFrame) -> None:
        """Add a frame; if its stamp is not after the newest stamp, forget the earlier frames."""
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
        """The oldest frame, None if there is no frame."""
        return self._frames[0] if self._frames else None

    @property
    def newest(self) -> StampedFrame | None:
        """The newest frame, None if there is no frame."""
        return self._frames[-1] if self._frames else None

    def nearest(self, stamp: int) -> StampedFrame | None:
        """Return the frame whose stamp is nearest, None if there is no frame."""
        return min(self._frames, key=lambda frame: abs(frame.stamp - stamp), default=None)

    def after(self, stamp: int) -> list[StampedFrame]:
        """Return the frames later than `stamp`, oldest first."""
        return [frame for frame in self._frames if frame.stamp > stamp]
