# SPDX-License-Identifier: Apache-2.0
"""Real time: frames do not wait for the tracker.

Frame i appears at i / fps. A tracker that is free takes the newest frame; frames that appear while
it is busy are skipped. For each frame, the newest answer that is done by (i + permitted) / fps
counts: with `permitted` 1 an answer may take one frame's time, as in VOT-RT (Kristan et al., 2017);
with 0 it must be done when the frame appears, as in streaming perception and latency-aware tracking
(Li et al., 2020, 2023).
"""

from __future__ import annotations

import math
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hcat_ros.boxes import Box
from hcat_ros.evaluation.one_pass import Answers
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.trackers import SingleObjectTracker
from hcat_ros.tracking import TargetState, Track
from hcat_ros.tracking.encodings import Image

PREDICTORS = ('none', 'constant_velocity')
ROUNDING = 1e-9
"""Tolerance for rounding errors, in seconds and in frames."""
NEWEST_WEIGHT = 0.5
"""Weight of the newest step in the smoothed velocity, 0 to 1."""
LEAST_LATENCY = 1e-4
"""Smallest latency that is drawn from a distribution, s."""


class Latency(NamedTuple):
    """How long an update takes, seconds: normally distributed."""

    mean: float
    deviation: float = 0.0


@dataclass(frozen=True)
class RealTimeRule:
    """The rules of a real-time pass."""

    fps: float
    """Rate at which frames appear, frames a second."""
    latency: Latency | None = None
    """Latency of the updates; None: the time that each update takes on this machine."""
    permitted: float = 1.0
    """Time after a frame appears in which an answer counts for it, in frame intervals, 0 to 1."""
    predict: str = 'none'
    """One of `PREDICTORS`. Until a newer answer comes, the last box stays still (none) or moves at
    its smoothed velocity (constant_velocity)."""

    def __post_init__(self) -> None:
        if not 0 < self.fps < math.inf:
            raise ValueError(
                f'{self.fps:g} frames a second: expected more than 0 and a finite number'
            )
        if not 0 <= self.permitted <= 1:
            raise ValueError(f'permitted latency {self.permitted:g}: expected 0 to 1')
        if self.predict not in PREDICTORS:
            raise ValueError(f"predict '{self.predict}': expected {' or '.join(PREDICTORS)}")
        if self.latency and not (
            0 < self.latency.mean < math.inf and 0 <= self.latency.deviation < math.inf
        ):
            raise ValueError(
                f'latency {1e3 * self.latency.mean:g} ms with a deviation of '
                f'{1e3 * self.latency.deviation:g} ms: expected above 0, deviation 0 or more, '
                'both finite'
            )

    def latencies(self, name: str) -> Iterator[float]:
        """Yield the latency of each update, s; a sequence's name always gives the same ones."""
        if self.latency is None:
            raise ValueError('latencies are measured, not given')
        rng = np.random.default_rng(zlib.crc32(os.fsencode(name)))
        while True:
            drawn = float(rng.normal(*self.latency)) if self.latency.deviation else 0.0
            yield max(drawn, LEAST_LATENCY) if self.latency.deviation else self.latency.mean


class _Answer(NamedTuple):
    frame: int
    done: float
    """Seconds since the first frame."""
    seconds: float
    track: Track


def real_time_pass(
    tracker: SingleObjectTracker,
    frames: Sequence[Image],
    first_box: ArrayLike,
    rule: RealTimeRule,
    name: str = '',
) -> SequenceResult:
    """Track through BGR frames that do not wait for the tracker, from `first_box` in the first one.

    Only frames that the tracker takes are read from `frames`. Starting on the target takes no
    simulated time. The result has the box that counts for each frame; its `seconds` are the
    duration of the update on that frame, NaN for a skipped frame.
    """
    started = time.perf_counter()
    tracker.init(frames[0], first_box)
    initialised = time.perf_counter() - started
    given = rule.latencies(name) if rule.latency else None

    def update(number: int) -> tuple[Track, float]:
        frame = frames[number]  # reading it is the camera's work
        began = time.perf_counter()
        track = tracker.update(frame)
        measured = time.perf_counter() - began
        return track, next(given) if given else measured

    answers = list(_answers(update, len(frames), rule.fps))
    seconds = {answer.frame: answer.seconds for answer in answers}
    counted = Answers()
    counted.start(first_box, initialised)
    first = _Answer(
        0, 0.0, 0.0, Track(Box(*map(float, np.asarray(first_box))), np.nan, TargetState.TRACKING)
    )
    motion = _Motion(first)
    waiting = iter([*answers, None])
    following = next(waiting)
    for number in range(1, len(frames)):
        due = (number + rule.permitted) / rule.fps
        while following is not None and following.done <= due + ROUNDING:
            motion.add(following)
            following = next(waiting)
        track = motion.last.track
        box = motion.predict(number) if rule.predict == 'constant_velocity' else track.box
        lost = track.state is TargetState.LOST
        counted.add(box, track.score, lost, seconds.get(number, float('nan')))
    return counted.result()


def _answers(
    update: Callable[[int], tuple[Track, float]], count: int, fps: float
) -> Iterator[_Answer]:
    """Yield the answers of a tracker that always takes the newest frame."""
    free, last = 0.0, 0
    while True:
        newest = max(last + 1, int(min(free * fps + ROUNDING, count)))
        if newest >= count:
            return
        track, seconds = update(newest)
        free = max(free, newest / fps) + seconds
        last = newest
        yield _Answer(newest, free, seconds, track)


class _Motion:
    """Smoothed velocity of the box's centre, pixels per frame; a lost target resets it to 0."""

    def __init__(self, first: _Answer) -> None:
        self.last = first
        self._velocity = np.zeros(2)

    def add(self, answer: _Answer) -> None:
        """Update the velocity with the next answer."""
        lost = TargetState.LOST in (answer.track.state, self.last.track.state)
        if lost:  # the step from or to the box of a lost target is not its motion
            self._velocity = np.zeros(2)
        else:
            new, old = answer.track.box, self.last.track.box
            step = np.array([new.cx - old.cx, new.cy - old.cy]) / (answer.frame - self.last.frame)
            self._velocity += NEWEST_WEIGHT * (step - self._velocity)
        self.last = answer

    def predict(self, frame: int) -> Box:
        """Return the last box, moved at the velocity to where it would be in a frame."""
        box = self.last.track.box
        dx, dy = self._velocity * (frame - self.last.frame)
        return Box(box.x + float(dx), box.y + float(dy), box.w, box.h)
