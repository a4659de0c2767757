# SPDX-License-Identifier: Apache-2.0
"""On which frame a named target starts: the newest, a past one, or one still to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hcat_ros.boxes import Box
from hcat_ros.tracking.frame_buffer import FrameBuffer, StampedFrame


class RequestOutcome(NamedTuple):
    """Outcome of a request."""

    target_id: str
    """Id of the target that is followed, empty if the request was refused."""
    reason: str
    """Why the request was refused, empty if it was not."""


class TargetRequest(NamedTuple):
    """A box that somebody has named as the target."""

    box: Box
    stamp: int
    """Nanoseconds of the frame that the box was seen on, 0 for the newest frame."""
    class_id: str
    on_outcome: Callable[[RequestOutcome], None] | None = None
    """Called once with what came of the request: when its target starts or is refused, when another
    request or a reset takes its place, at the latest with the first look that is `PATIENCE` after
    `submit`. Without it nobody waits for an answer, and an unstamped request waits for the first
    image for ever."""

    def settle(self, target_id: str = '', reason: str = '') -> None:
        """Tell whoever waits for an answer what came of the request."""
        if self.on_outcome is not None:
            self.on_outcome(RequestOutcome(target_id, reason))


STAMP_TOLERANCE = 0.1
"""Seconds by which a frame may miss the stamp of a request, unless told otherwise."""
PATIENCE = 1.0
"""Seconds for which a request waits for the frame of its stamp, and the furthest that a stamp may
lie ahead of the newest frame."""
CLOCK_HINT = 'are the clocks of the machines synchronised?'


class TargetRequests:
    """Matches requests with frames. The last request counts, one at a time may wait.

    Times are of a monotonic clock, seconds.
    """

    def __init__(self, buffer: FrameBuffer, tolerance: float) -> None:
        self.buffer = buffer
        self.tolerance = tolerance
        """Seconds by which the frame may miss the stamp."""
        self._waiting: TargetRequest | None = None
        self._since = 0.0

    @property
    def waiting(self) -> TargetRequest | None:
        """The request whose frame is yet to come."""
        return self._waiting

    def forget(self) -> None:
        """Let no request wait; the caller settles the one that did."""
        self._waiting = None

    def submit(self, request: TargetRequest, now: float) -> StampedFrame | None:
        """Return the frame that the request starts on, None if that is yet to come.

        It takes the place of a request that waits, which the caller settles. Raises ValueError if
        its stamp is that of no frame, nor of one to come soon.
        """
        self._waiting, self._since = request, now
        return self._match(now)

    def take_arrived(self, now: float) -> tuple[TargetRequest, StampedFrame] | None:
        """Return the waiting request if the frame it waits for has come, with that frame.

        Raises ValueError, and drops the request, if its frame can no longer come or it has expired.
        """
        request = self._waiting
        frame = self._match(now)
        return None if frame is None or request is None else (request, frame)

    def _match(self, now: float) -> StampedFrame | None:
        """Return the waiting request's frame; once it is here or cannot come, nothing waits."""
        request, newest, oldest = self._waiting, self.buffer.newest, self.buffer.oldest
        if request is None:
            return None
        waits_for_ever = request.stamp == 0 and request.on_outcome is None
        waits = waits_for_ever or now - self._since < PATIENCE
        if newest is None or oldest is None:
            if waits:
                return None
            self._waiting = None
            raise ValueError(f'no image has come within {PATIENCE:g} s, and none before')
        if request.stamp == 0:
            self._waiting = None
            return newest
        frame = self.buffer.nearest(request.stamp)
        if frame is not None and abs(frame.stamp - request.stamp) <= self.tolerance * 1e9:
            self._waiting = None
            return frame
        ahead = (request.stamp - newest.stamp) / 1e9
        if 0 < ahead <= PATIENCE and waits:
            return None
        self._waiting = None
        raise ValueError(self._refusal(newest.stamp, ahead, newest.stamp - oldest.stamp))

    def _refusal(self, newest: int, ahead: float, kept: int) -> str:
        """Return why no frame fits. newest, kept: nanoseconds; ahead: seconds."""
        if newest == 0:
            return 'it has a stamp, and the images have none: send it without (zero)'
        if ahead > PATIENCE:
            return f'its stamp is {ahead:.3f} s ahead of the newest image: {CLOCK_HINT}'
        if ahead > 0:
            return (
                f'its stamp is {ahead:.3f} s ahead of the newest image, and no image of that time '
                f'has come within {PATIENCE:g} s: {CLOCK_HINT}'
            )
        doubt = f'; {CLOCK_HINT}' if -ahead > PATIENCE + kept / 1e9 else ''
        return (
            f'its frame is {-ahead:.3f} s older than the newest one and not kept: the buffer holds '
            f'{len(self.buffer)} frames over {kept / 1e9:.3f} s (raise buffer_mb or '
            f'stamp_tolerance){doubt}'
        )
