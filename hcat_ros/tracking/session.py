# SPDX-License-Identifier: Apache-2.0
"""From activation to deactivation: frames and named targets in, tracks out."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from hcat_ros.boxes import Box
from hcat_ros.engines import EngineError
from hcat_ros.tracking import TargetState, Track, Tracker
from hcat_ros.tracking.frame_buffer import FrameBuffer, StampedFrame
from hcat_ros.tracking.target_requests import TargetRequest, TargetRequests


class TrackedFrame(NamedTuple):
    """A frame and where the target is in it."""

    frame: StampedFrame
    track: Track | None
    """None where the picture says nothing of the target."""
    target_id: str
    """Id of the target, constant as long as it is followed."""
    class_id: str


class Refuse(Protocol):
    """Tells why something was not used."""

    def __call__(self, kind: str, reason: str) -> None:
        """kind: what is counted, as 'refused boxes'."""


def target_ids() -> Iterator[str]:
    """Yield names for targets that no other tracker gives, nor the same one started again."""
    start = secrets.token_hex(3)
    return (f'{start}-{number}' for number in itertools.count(1))


class TrackingSession:
    """Keeps the last frames, starts targets on the frames they were named on, follows them.

    `add_frame` and `request` yield each tracked frame as it is done, so that a target that was
    named late is published while it catches up. Whatever cannot be used goes to `refuse`.
    """

    def __init__(
        self,
        tracker: Tracker,
        buffer_bytes: int,
        stamp_tolerance: float,
        refuse: Refuse,
        ids: Iterator[str],
    ) -> None:
        """ids: names for the targets to come, see `target_ids`."""
        self.tracker = tracker
        self.buffer = FrameBuffer(buffer_bytes)
        self.requests = TargetRequests(self.buffer, stamp_tolerance)
        self.track: Track | None = None
        """The newest one of the target."""
        self.target: TargetRequest | None = None
        """The one that is or was last followed."""
        self.last_seen: Box | None = None
        """Where a target was when it was last not lost; None before the first."""
        self.target_id = ''
        """Id of the target that is or was last followed."""
        self._refuse = refuse
        self._ids = ids
        self._jumped = False

    @property
    def has_target(self) -> bool:
        """Whether a target is being followed, lost or not."""
        return self.tracker.has_target

    @property
    def wants_target(self) -> bool:
        """Whether there is no target, nor one about to start, or it is lost."""
        if not self.has_target:
            return self.requests.waiting is None
        return self.track is not None and self.track.state is TargetState.LOST

    def add_frame(self, frame: StampedFrame, frozen: bool = False) -> Iterator[TrackedFrame]:
        """Take the newest frame: start the target that waits for it, or follow the one there.

        frozen: it is an old picture sent again, in which the target is no longer where it is.
        """
        self.buffer.append(frame)
        arrived = self._take_arrived()
        if arrived is not None:
            yield from self._start(*arrived)
        elif self.has_target:
            if frozen:
                yield self._with_target(frame, None)
            else:
                yield from self._follow(frame)

    def look_at_waiting(self) -> Iterator[TrackedFrame]:
        """Refuse the request that has waited for too long, also while no frame comes."""
        arrived = self._take_arrived()
        if arrived is not None:
            yield from self._start(*arrived)

    def _take_arrived(self) -> tuple[TargetRequest, StampedFrame] | None:
        """Return the request that waits and its frame, if that is here."""
        waiting = self.requests.waiting
        try:
            return self.requests.take_arrived(time.monotonic())
        except ValueError as error:
            assert waiting is not None
            self._refuse_request(waiting, str(error))
            return None

    def request(self, request: TargetRequest) -> Iterator[TrackedFrame]:
        """Take a target, at once if its frame is here. It takes the place of one that waits."""
        if self.requests.waiting is not None:
            self.requests.waiting.settle(reason='another target was named before its image came')
        try:
            frame = self.requests.submit(request, time.monotonic())
        except ValueError as error:
            self._refuse_request(request, str(error))
            return
        if frame is not None:
            yield from self._start(request, frame)

    def record_time_jump(self) -> None:
        """Forget the frames; the target is kept if it is in the next one where it was."""
        self.buffer.clear()
        self._jumped = self.has_target

    def reset(self) -> None:
        """Drop the target, and the one that waits."""
        if self.requests.waiting is not None:
            self.requests.waiting.settle(reason='the tracker was reset before its image came')
        self.requests.forget()
        self.tracker.drop_target()
        self.track = None
        self._jumped = False

    def _refuse_request(self, request: TargetRequest, reason: str) -> None:
        self._refuse('refused boxes', f'init box refused: {reason}')
        request.settle(reason=reason)

    def _start(self, request: TargetRequest, frame: StampedFrame) -> Iterator[TrackedFrame]:
        try:
            self.tracker.init(frame.image, request.box, frame.encoding)
        except Exception as error:  # those of runtimes share no base
            self._refuse_request(request, _told(error))
            return
        self.target_id = next(self._ids)
        request.settle(target_id=self.target_id)
        self.target = request
        self.track = None
        self._jumped = False
        for late in self.buffer.after(frame.stamp):
            yield from self._follow(late)

    def _follow(self, frame: StampedFrame) -> Iterator[TrackedFrame]:
        try:
            track = self.tracker.update(frame.image, frame.encoding)
        except Exception as error:
            self._refuse('failed frames', f'frame not tracked: {_told(error)}')
            return
        self.track = track
        if track.state is not TargetState.LOST:
            self.last_seen = track.box
        yield self._with_target(frame, track)
        if track.state is TargetState.TRACKING:
            self._jumped = False
        elif self._jumped and track.state is TargetState.LOST:
            reason = 'after the jump of the image stamps the target is not where it was: dropped'
            self._refuse('dropped targets', reason)
            self.reset()

    def _with_target(self, frame: StampedFrame, track: Track | None) -> TrackedFrame:
        class_id = self.target.class_id if self.target else ''
        return TrackedFrame(frame, track, self.target_id, class_id)


def _told(error: Exception) -> str:
    """Return what went wrong; what nobody has foreseen says little without its name."""
    foreseen = isinstance(error, (ValueError, EngineError))
    return str(error) if foreseen else f'{type(error).__name__}: {error}'
