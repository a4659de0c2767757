# SPDX-License-Identifier: Apache-2.0
"""Finds the frame on which a named target starts: the newest, a past, or a future frame."""

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
    """Reason for the refusal, empty if the target was started."""


class TargetRequest(NamedTuple):
    """A box that somebody has named as the target."""

    box: Box
    stamp: int
    """Stamp of the frame that the box belongs to, nanoseconds; 0 for the newest frame."""
    class_id: str
    on_outcome: Callable[[RequestOutcome], None] | None = None
    """Callback that is called once with the outcome: when the target starts or is refused, when
    another request or a reset replaces the request, and at the latest at the first check that comes
    `PATIENCE` after `submit`. Without a callback nobody waits for an answer, and an unstamped
    request waits for the first image without a time limit."""

    def settle(self, target_id: str = '', reason: str = '') -> None:
        """Report the outcome of the request to `on_outcome`."""
        if self.on_outcome is not None:
            self.on_outcome(RequestOutcome(target_id, reason))


STAMP_TOLERANCE = 0.1
"""Default for the largest difference between the stamps of a request and its frame, seconds."""
PATIENCE = 1.0
"""Seconds for which a request waits for its frame, and the largest distance by which its stamp may
be ahead of the newest frame."""
CLOCK_HINT = 'are the clocks of the machines synchronised?'


class TargetRequests:
    """Matches requests with frames. At most one request waits; a new request replaces it.

    Times are seconds of a monotonic clock.
    """

    def __init__(self, buffer: FrameBuffer, tolerance: float) -> None:
        self.buffer = buffer
        self.tolerance = tolerance
        """Largest difference between the stamps of a request and its frame, seconds."""
        self._waiting: TargetRequest | None = None
        self._since = 0.0

    @property
    def waiting(self) -> TargetRequest | None:
        """The request whose frame has not come yet, None if no request waits."""
        return self._waiting

    def forget(self) -> None:
        """Forget the waiting request, which the caller settles."""
        self._waiting = None

    def submit(self, request: TargetRequest, now: float) -> StampedFrame | None:
        """Return the frame on which the request starts, None if that frame has not come yet.

        The request replaces a waiting request, which the caller settles. Raises ValueError if no
        frame in the buffer has its stamp and none with this stamp is expected soon.
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
        """Return the waiting request's frame; forget the request if that came or cannot come."""
        request, newest, oldest = self._waiting, self.buffer.newest, self.buffer.oldest
        if request is None:
            return None
        waits_for_ever = request.stamp == 0 and request.on_outcome is None
        waits = waits_for_ever or now - self._since < PATIENCE
        if newest is None or oldest is None:
            if waits:
                return None
            self._waiting = None
            raise ValueError(f'no image has come within {PATIENCE:g} s; check the image topic')
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
        """Return why no frame matches. newest, kept: nanoseconds; ahead: seconds."""
        if newest == 0:
            return 'it has a stamp, but the images have none: send the box with a zero stamp'
        if ahead > PATIENCE:
            return f'its stamp is {ahead:.3f} s ahead of the newest image: {CLOCK_HINT}'
        if ahead > 0:
            return (
                f'its stamp is {ahead:.3f} s ahead of the newest image, and no image with that '
                f'stamp came within {PATIENCE:g} s: {CLOCK_HINT}'
            )
        doubt = f'; {CLOCK_HINT}' if -ahead > PATIENCE + kept / 1e9 else ''
        return (
            f'its frame is {-ahead:.3f} s older than the newest one and not kept; the buffer holds '
            f'{len(self.buffer)} frames over {kept / 1e9:.3f} s (raise buffer_mb or '
            f'stamp_tolerance){doubt}'
        )
