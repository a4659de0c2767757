# SPDX-License-Identifier: Apache-2.0
"""The tracking session turns frames and target requests into tracks."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import deque
from collections.abc import Iterator
from statistics import median
from typing import Any, NamedTuple, Protocol

from hcat_ros.boxes import Box
from hcat_ros.engines import EngineError
from hcat_ros.tracking import TargetState, Track, Tracker
from hcat_ros.tracking.followed_target import FollowedTarget, TargetTrack, settle_claims
from hcat_ros.tracking.frame_buffer import FrameBuffer, StampedFrame
from hcat_ros.tracking.stream import Turn
from hcat_ros.tracking.target_requests import TargetRequest, TargetRequests
from hcat_ros.tracking.tracker import StageTimes


class TrackedFrame(NamedTuple):
    """A frame and the tracks of the targets in it."""

    frame: StampedFrame
    track: Track | None
    """Track of the primary target; None if the camera is frozen."""
    target_id: str
    """Id of the primary target, constant as long as it is followed."""
    class_id: str
    others: tuple[TargetTrack, ...] = ()
    """Tracks of the other targets that were updated in this frame, in the order of their naming."""
    stage_times: StageTimes = StageTimes(0.0, 0.0, 0.0)
    """Times of the primary target's last update."""


class Refuse(Protocol):
    """Callback for refused input and failures, with the reason."""

    def __call__(self, kind: str, reason: str) -> None:
        """kind: name of the counter, for example 'refused boxes'."""


def target_ids() -> Iterator[str]:
    """Yield ids for targets, unique across trackers and restarts."""
    start = secrets.token_hex(3)
    return (f'{start}-{number}' for number in itertools.count(1))


INTERVAL_WINDOW = 15
"""Number of frame intervals whose median is the camera's interval."""
USUAL_INTERVAL = 1 / 30
"""Interval between frames, s, that is assumed until `INTERVAL_WINDOW` intervals are known."""
MAX_LOAD = 0.9
"""Share of the camera's interval that the trackers may take. The primary and one other target are
tracked in each frame, even if they take longer."""
LOST_WEIGHT = 0.5
"""Scheduling weight of a lost target; other targets have the weight 1."""
UPDATE_TIME_SMOOTHING = 0.2
"""Weight of the newest update in the smoothed duration of an update."""


class TrackingSession:
    """Keeps the last frames, starts each target on the frame it was named on, and follows it.

    `add_frame`, `request` and `poll_waiting_request` yield each tracked frame as soon as it is
    done, so that a primary target that was named on a past frame is published while it catches up;
    other targets catch up silently. These methods are generators: nothing happens until the caller
    iterates over the result. Refused input and failures are reported to `refuse`.

    One target is the primary target: the first one, or the selected one. It is tracked in each
    frame; the others take turns if the time between frames is too short for all.
    """

    def __init__(
        self,
        tracker: Tracker,
        buffer_bytes: int,
        stamp_tolerance: float,
        refuse: Refuse,
        ids: Iterator[str],
        max_targets: int = 1,
        paced: bool = True,
    ) -> None:
        """tracker: tracker of the first target; other targets share its engine and configuration.

        ids: ids for new targets, see `target_ids`. max_targets: with 1 a new target replaces the
        present one; with more a new target is refused when max_targets are followed. paced: whether
        targets take turns if the time between frames is too short for all.
        """
        self.tracker = tracker
        self.buffer = FrameBuffer(buffer_bytes)
        self.requests = TargetRequests(self.buffer, stamp_tolerance)
        self.max_targets = max_targets
        self.paced = paced
        self.targets: list[FollowedTarget] = []
        """Targets that are followed, lost or not, in the order of their naming."""
        self.primary: FollowedTarget | None = None
        self._last: FollowedTarget | None = None
        """The primary target, or the last one if there is none."""
        self._refuse = refuse
        self._ids = ids
        self._intervals: deque[float] = deque(maxlen=INTERVAL_WINDOW)
        self._update_time = 0.0
        """Smoothed duration of an update, s; 0 before the first."""

    @property
    def has_target(self) -> bool:
        """Whether a target is being followed, lost or not."""
        return bool(self.targets)

    @property
    def wants_target(self) -> bool:
        """Whether a detection is useful.

        Below max_targets, a detection can start a target unless a request waits. At max_targets, a
        detection can only re-detect a lost target.
        """
        if len(self.targets) < self.max_targets:
            return self.requests.waiting is None
        return any(target.is_lost for target in self.targets)

    @property
    def track(self) -> Track | None:
        """Newest track of the primary target."""
        return self.primary.track if self.primary else None

    @property
    def target(self) -> TargetRequest | None:
        """Request of the primary target, or of the last primary target."""
        return self._last.request if self._last else None

    @property
    def target_id(self) -> str:
        """Id of the primary target, or of the last primary target."""
        return self._last.id if self._last else ''

    @property
    def last_seen(self) -> Box | None:
        """Last box of the primary target, or of the last primary target, before it was lost."""
        return self._last.last_seen if self._last else None

    @property
    def updates_a_frame(self) -> int:
        """Number of targets that are updated in each frame."""
        count = len(self.targets)
        if count < 2 or not self.paced:
            return count
        if not self._update_time:
            return count
        is_known = len(self._intervals) == INTERVAL_WINDOW
        interval = median(self._intervals) if is_known else USUAL_INTERVAL
        return min(count, max(2, int(MAX_LOAD * interval / self._update_time)))

    def configure(self, **changes: Any) -> None:
        """Change fields of the trackers' configuration. Raises ValueError."""
        for tracker in {id(one): one for one in (self.tracker, *self._trackers())}.values():
            tracker.configure(**changes)

    def add_frame(self, frame: StampedFrame, dropped: int = 0) -> Iterator[TrackedFrame]:
        """Add the newest frame: update the targets, and start the target that waits for the frame.

        dropped: number of images that the camera sent between the previous frame and this one.
        Without this number, slow tracking would look like a slow camera and would stay slow.
        """
        if (newest := self.buffer.newest) is not None and frame.stamp > newest.stamp:
            self._intervals.append((frame.stamp - newest.stamp) / 1e9 / (1 + dropped))
        self.buffer.append(frame)
        arrived = self._take_arrived()
        # With max_targets 1, a target that is replaced on this frame is not updated any more.
        if arrived is None or self.max_targets > 1:
            yield from self._follow(frame, self._due())
        if arrived is not None:
            yield from self._start(*arrived)

    def find_again(self, box: Box, stamp: int) -> bool:
        """Resume the first lost target that matches a detector's box; return whether one matched.

        Its score is 0 until the next frame. stamp: stamp of the image to which the box belongs,
        nanoseconds; 0 for the newest image.
        """
        frame = self.buffer.nearest(stamp) if stamp else self.buffer.newest
        if frame is None or (stamp and abs(frame.stamp - stamp) > self.requests.tolerance * 1e9):
            return False
        for target in self.targets:
            if not target.is_lost:
                continue
            try:
                if target.tracker.find_in(frame.image, box, frame.encoding):
                    target.record(Track(box, 0.0, TargetState.TRACKING))
                    return True
            except Exception as error:
                self._refuse('failed frames', f'frame not tracked: {_describe(error)}')
        return False

    def select_primary(self, target_id: str) -> None:
        """Make a target the primary one. Raises ValueError, listing the ids, for an unknown id."""
        self.primary = self._last = self._find_target(target_id)

    def drop(self, target_id: str) -> None:
        """Stop following a target. The oldest remaining target replaces a dropped primary target.

        Raises ValueError, listing the ids, for an unknown id.
        """
        self._drop(self._find_target(target_id))

    def _find_target(self, target_id: str) -> FollowedTarget:
        for target in self.targets:
            if target.id == target_id:
                return target
        known = ', '.join(target.id for target in self.targets) or 'none'
        raise ValueError(f"no target '{target_id[:40]}' is followed; followed targets: {known}")

    def _drop(self, target: FollowedTarget) -> None:
        target.tracker.drop_target()
        self.targets.remove(target)
        if target is self.primary:
            self.primary = self.targets[0] if self.targets else None
            self._last = self.primary or self._last

    def _trackers(self) -> Iterator[Tracker]:
        return (target.tracker for target in self.targets)

    def _due(self) -> list[FollowedTarget]:
        """Return the targets to update in this frame: the primary target, and others in turn."""
        others = [target for target in self.targets if target is not self.primary]
        # The longest-waiting target is first. Lost targets may wait longer: their position is not
        # in use.
        others.sort(key=lambda t: t.skipped * (LOST_WEIGHT if t.is_lost else 1.0), reverse=True)
        for target in self.targets:
            target.skipped += 1
        due = others[: self.updates_a_frame - 1] + ([self.primary] if self.primary else [])
        for target in due:
            target.skipped = 0
        return [target for target in self.targets if not target.skipped]

    def poll_waiting_request(self) -> Iterator[TrackedFrame]:
        """Start the waiting request if its frame is here, or refuse it if it has expired.

        Call this method regularly, also while no frames come.
        """
        arrived = self._take_arrived()
        if arrived is not None:
            yield from self._start(*arrived)

    def _take_arrived(self) -> tuple[TargetRequest, StampedFrame] | None:
        """Return the waiting request and its frame if that is here; refuse an expired request."""
        waiting = self.requests.waiting
        try:
            return self.requests.take_arrived(time.monotonic())
        except ValueError as error:
            assert waiting is not None
            self._refuse_request(waiting, str(error))
            return None

    def request(self, request: TargetRequest) -> Iterator[TrackedFrame]:
        """Start a target, at once if its frame is here. The new request replaces a waiting one."""
        if self.requests.waiting is not None:
            self.requests.waiting.settle(reason='another target was named before its image came')
        try:
            frame = self.requests.submit(request, time.monotonic())
        except ValueError as error:
            self._refuse_request(request, str(error))
            return
        if frame is not None:
            yield from self._start(request, frame)

    def begin_anew(self, turn: Turn) -> None:
        """Forget what the next frame, with this treatment, makes invalid.

        After a jump of the stamps, earlier frames are forgotten, and a target that is not found at
        its place is dropped later. If the view changes, all frames and targets are forgotten.
        """
        if turn not in (Turn.JUMPED, Turn.BEGINS):
            return
        if turn is Turn.BEGINS:
            self.reset()
        self.buffer.clear()
        self._intervals.clear()
        for target in self.targets:
            target.jumped = True

    def reset(self) -> None:
        """Drop all targets, and refuse a waiting request."""
        if self.requests.waiting is not None:
            self.requests.waiting.settle(reason='the tracker was reset before its image came')
        self.requests.forget()
        while self.targets:
            self._drop(self.targets[-1])
        self.tracker.drop_target()

    def _refuse_request(self, request: TargetRequest, reason: str) -> None:
        self._refuse('refused boxes', f'init box refused: {reason}')
        request.settle(reason=reason)

    def _start(self, request: TargetRequest, frame: StampedFrame) -> Iterator[TrackedFrame]:
        alone = self.max_targets == 1
        if not alone and len(self.targets) >= self.max_targets:
            self._refuse_request(
                request,
                f'{len(self.targets)} targets are followed, the limit of max_targets: drop one '
                '(~/drop) or raise max_targets',
            )
            return
        free = alone or all(tracker is not self.tracker for tracker in self._trackers())
        tracker = self.tracker if free else Tracker(self.tracker.engine, self.tracker.config)
        try:
            tracker.init(frame.image, request.box, frame.encoding)
        except Exception as error:  # the runtimes' errors share no base class
            self._refuse_request(request, _describe(error))
            return
        target = FollowedTarget(tracker, request, next(self._ids))
        if alone:
            self.targets.clear()
        self.targets.append(target)
        if alone or self.primary is None:
            self.primary = self._last = target
        request.settle(target_id=target.id)
        for late in self.buffer.after(frame.stamp):
            yield from self._follow(late, [target])

    def _follow(self, frame: StampedFrame, due: list[FollowedTarget]) -> Iterator[TrackedFrame]:
        """Update the due targets in a frame; yield the frame if the primary target was updated.

        In a frozen frame no target is updated; the frame is yielded without a track.
        """
        if frame.is_frozen:
            if self.primary is not None and self.primary in due:
                yield self._with_names(frame, None, ())
            return
        done = [target for target in due if self._update(target, frame)]
        if frame is self.buffer.newest:
            settle_claims(self.targets, done)
        primary = self.primary
        if primary is not None and primary in done:
            others = tuple(target.named_track() for target in done if target is not primary)
            yield self._with_names(frame, primary.track, others)
        for target in done:
            if target.track is None or target.track.state is TargetState.TRACKING:
                target.jumped = False
            elif target.jumped and target.is_lost:
                reason = 'dropped the target: after the image stamps jumped it was not found again'
                self._refuse('dropped targets', reason)
                self._drop(target)

    def _update(self, target: FollowedTarget, frame: StampedFrame) -> bool:
        """Update a target in a frame; return whether this succeeded."""
        start = time.perf_counter()
        try:
            target.record(target.tracker.update(frame.image, frame.encoding))
        except Exception as error:
            self._refuse('failed frames', f'frame not tracked: {_describe(error)}')
            return False
        duration = time.perf_counter() - start
        share = UPDATE_TIME_SMOOTHING if self._update_time else 1.0
        self._update_time += share * (duration - self._update_time)
        return True

    def _with_names(
        self, frame: StampedFrame, track: Track | None, others: tuple[TargetTrack, ...]
    ) -> TrackedFrame:
        assert self.primary is not None
        primary, times = self.primary, self.primary.tracker.stage_times
        return TrackedFrame(frame, track, primary.id, primary.request.class_id, others, times)


def _describe(error: Exception) -> str:
    """Return the error's message, with its type for an unexpected error."""
    is_expected = isinstance(error, (ValueError, EngineError))
    return str(error) if is_expected else f'{type(error).__name__}: {error}'
