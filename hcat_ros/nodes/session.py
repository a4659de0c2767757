# SPDX-License-Identifier: Apache-2.0
"""From activation to deactivation: frames and named targets in, tracks out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from hcat_ros.boxes import Box
from hcat_ros.engines import EngineError
from hcat_ros.nodes.frame_buffer import FrameBuffer, StampedFrame
from hcat_ros.nodes.target_requests import TargetRequest, TargetRequests
from hcat_ros.tracking import TargetState, Track, Tracker


class TrackedFrame(NamedTuple):
    """A frame and where the target is in it."""

    frame: StampedFrame
    track: Track
    target_id: str
    """The same as long as the target is."""
    class_id: str


class Refuse(Protocol):
    """Tells why something was not used."""

    def __call__(self, kind: str, reason: str) -> None:
        """kind: what is counted, as 'refused boxes'."""


class TrackingSession:
    """Keeps the last frames, starts targets on the frames they were named on, follows them.

    `add_frame` and `request` yield each tracked frame as it is done, so that a target that was
    named late is published while it catches up. Whatever cannot be used goes to `refuse`.
    """

    def __init__(
        self, tracker: Tracker, buffer_bytes: int, stamp_tolerance: float, refuse: Refuse
    ) -> None:
        self.tracker = tracker
        self.buffer = FrameBuffer(buffer_bytes)
        self.requests = TargetRequests(self.buffer, stamp_tolerance)
        self.track: Track | None = None
        """The newest one of the target."""
        self.target: TargetRequest | None = None
        """The one that is or was last followed."""
        self.last_seen: Box | None = None
        """Where a target was when it was last not lost; None before the first."""
        self.targets = 0
        """How many there have been."""
        self._refuse = refuse

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

    def add_frame(self, frame: StampedFrame) -> Iterator[TrackedFrame]:
        """Take the newest frame: start the target that waits for it, or follow the one there."""
        self.buffer.append(frame)
        try:
            arrived = self.requests.take_arrived()
        except ValueError as error:
            self._refuse('refused boxes', f'init box refused: {error}')
            arrived = None
        if arrived is not None:
            yield from self._start(*arrived)
        elif self.has_target:
            yield from self._follow(frame)

    def request(self, request: TargetRequest) -> Iterator[TrackedFrame]:
        """Take a target, at once if its frame is here."""
        try:
            frame = self.requests.submit(request)
        except ValueError as error:
            self._refuse('refused boxes', f'init box refused: {error}')
            return
        if frame is not None:
            yield from self._start(request, frame)

    def reset(self) -> None:
        """Drop the target, and the one that waits."""
        self.requests.waiting = None
        self.tracker.drop_target()
        self.track = None

    def _start(self, request: TargetRequest, frame: StampedFrame) -> Iterator[TrackedFrame]:
        try:
            self.tracker.init(frame.image, request.box, frame.encoding)
        except Exception as error:  # those of runtimes share no base
            self._refuse('refused boxes', f'init box refused: {_told(error)}')
            return
        self.targets += 1
        self.target = request
        self.track = None
        for late in self.buffer.after(frame.stamp):
            yield from self._follow(late)

    def _follow(self, frame: StampedFrame) -> Iterator[TrackedFrame]:
        try:
            self.track = self.tracker.update(frame.image, frame.encoding)
        except Exception as error:
            self._refuse('failed frames', f'frame not tracked: {_told(error)}')
            return
        if self.track.state is not TargetState.LOST:
            self.last_seen = self.track.box
        class_id = self.target.class_id if self.target else ''
        yield TrackedFrame(frame, self.track, str(self.targets), class_id)


def _told(error: Exception) -> str:
    """Return what went wrong; what nobody has foreseen says little without its name."""
    foreseen = isinstance(error, (ValueError, EngineError))
    return str(error) if foreseen else f'{type(error).__name__}: {error}'
