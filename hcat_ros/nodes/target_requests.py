# SPDX-License-Identifier: Apache-2.0
"""On which frame a named target starts: the newest, a past one, or one still to come."""

from __future__ import annotations

from typing import NamedTuple

from hcat_ros.boxes import Box
from hcat_ros.nodes.frame_buffer import FrameBuffer, StampedFrame


class TargetRequest(NamedTuple):
    """A box that somebody has named as the target."""

    box: Box
    stamp: int
    """Nanoseconds of the frame that the box was seen on, 0 for the newest frame."""
    class_id: str


class TargetRequests:
    """Matches requests with frames. The last request counts, one at a time may wait."""

    def __init__(self, buffer: FrameBuffer, tolerance: float) -> None:
        self.buffer = buffer
        self.tolerance = tolerance
        """Seconds by which the frame may miss the stamp."""
        self.waiting: TargetRequest | None = None

    def submit(self, request: TargetRequest) -> StampedFrame | None:
        """Return the frame that the request starts on, None if that is yet to come.

        Raises ValueError with the age if no frame near its stamp is kept any more.
        """
        self.waiting = None
        newest, oldest = self.buffer.newest, self.buffer.oldest
        if newest is None or oldest is None:
            self.waiting = request
            return None
        if request.stamp == 0:
            return newest
        frame = self.buffer.nearest(request.stamp)
        if frame is not None and abs(frame.stamp - request.stamp) <= self.tolerance * 1e9:
            return frame
        if request.stamp > newest.stamp:
            self.waiting = request
            return None
        age = (newest.stamp - request.stamp) / 1e9
        kept = (newest.stamp - oldest.stamp) / 1e9
        raise ValueError(
            f'its frame is {age:.3f} s older than the newest one and not kept: the buffer holds '
            f'{len(self.buffer)} frames over {kept:.3f} s (raise buffer_mb or stamp_tolerance)'
        )

    def take_arrived(self) -> tuple[TargetRequest, StampedFrame] | None:
        """Return the waiting request if the frame it waits for has come, with that frame.

        Raises ValueError if the stream has passed its stamp without a frame near it.
        """
        request = self.waiting
        if request is None:
            return None
        frame = self.submit(request)
        return None if frame is None else (request, frame)
