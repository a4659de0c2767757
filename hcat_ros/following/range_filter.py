# SPDX-License-Identifier: Apache-2.0
"""Estimates the target's range from depth images or from its apparent size."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.following.config import FollowConfig
from hcat_ros.following.ego_motion import EgoMotion
from hcat_ros.following.measurement import BearingMeasurement

FIRST_SPEED = 1.0
"""Standard deviation of the target's speed after the first measurement, m/s."""
LEARNED_TRACKS = 15
"""Number of last tracks with a depth whose median size is used while there is no depth."""
REFERENCE_TRACKS = 5
"""Number of tracks on which the size of the target at the start is measured."""
MAX_DEVIATION = 0.5
"""Standard deviation, as a share of the range, from which a range counts as unknown."""
LEAST_RANGE = 0.01
"""Smallest range of an estimate, m."""


class Range(NamedTuple):
    """A range at a time."""

    time: float
    range: float
    """m."""
    speed: float
    """The target's own speed along the line of sight, m/s, positive away from the camera."""
    deviation: float
    """Standard deviation of the range, m."""
    speed_deviation: float
    """Standard deviation of the speed, m/s."""

    @property
    def is_known(self) -> bool:
        """Whether the range is certain enough to drive by."""
        return self.deviation < MAX_DEVIATION * self.range


class MeasuredRange(NamedTuple):
    """Range of a target in one image."""

    range: float
    """m."""
    at_most: bool
    """Whether part of the target is outside the image, so that it may be nearer."""
    source: str
    """'depth', 'size' (a known one) or 'relative' (to an earlier range, or learned from depth)."""


class RangeFromSize:
    """Computes the range from the angular size: range = size / (2 tan(angle / 2)).

    The size is configured, or learned while there is depth, or chosen so that the range at the
    start is the configured reference.
    """

    def __init__(self) -> None:
        self._first: list[float] = []
        self._learned: deque[float] = deque(maxlen=LEARNED_TRACKS)

    def clear(self) -> None:
        """Forget the size at the start and the size that was learned from depth."""
        self._first.clear()
        self._learned.clear()

    def learn(self, measurement: BearingMeasurement, distance: float) -> None:
        """Learn the size of the target from its known distance, m."""
        if not measurement.height_clipped:
            half = math.tan(min(measurement.height_rad, 3.0) / 2)
            self._learned.append(2 * distance * half)

    def of(self, measurement: BearingMeasurement, config: FollowConfig) -> MeasuredRange | None:
        """Return the range; None if the configuration gives none, or none yet.

        Call this once for each accepted track, because it collects the size at the start.
        """
        has_size = config.target_height > 0 or config.target_width > 0
        if config.range_mode == 'size' or (config.range_mode == 'depth' and has_size):
            sides = [
                (config.target_height, measurement.height_rad, measurement.height_clipped),
                (config.target_width, measurement.width_rad, measurement.width_clipped),
            ]
            sides = [side for side in sides if side[0] > 0]
            # Prefer a side that is not cut off, then the height, which changes less than the width
            # when a target turns.
            size, angle, clipped = min(sides, key=lambda side: side[2])
            return MeasuredRange(size / (2 * math.tan(min(angle, 3.0) / 2)), clipped, 'size')
        half = math.tan(min(measurement.height_rad, 3.0) / 2)
        clipped = measurement.height_clipped
        if config.range_mode == 'depth' and self._learned:
            return MeasuredRange(float(np.median(self._learned)) / (2 * half), clipped, 'relative')
        if config.range_mode == 'relative':
            if len(self._first) < REFERENCE_TRACKS and not clipped:
                self._first.append(math.log(half))
            if not self._first:
                return None
            reference = math.exp(sum(self._first) / len(self._first))
            return MeasuredRange(config.reference_range * reference / half, clipped, 'relative')
        return None


class RangeFilter:
    """Kalman filter over (range, the target's own speed along the line of sight).

    The platform's own motion is subtracted, as in the bearing filter. The speed is a random walk:
    its variance grows by `process_noise`^2 per second, (m/s)^2.
    """

    def __init__(self, ego: EgoMotion, process_noise: float) -> None:
        self.process_noise = process_noise
        self._ego = ego
        self._time = 0.0
        self._state: NDArray[np.float64] | None = None
        self._covariance: NDArray[np.float64] = np.zeros((2, 2))

    def clear(self) -> None:
        """Forget the target."""
        self._state = None

    def at(self, time: float, direction: NDArray[np.float64]) -> Range | None:
        """Return the range at a time for a target in a direction (3,); None before any update."""
        if self._state is None:
            return None
        state, covariance = self._expected(self._state, time, direction)
        return Range(
            time,
            max(float(state[0]), LEAST_RANGE),
            float(state[1]),
            math.sqrt(float(covariance[0, 0])),
            math.sqrt(float(covariance[1, 1])),
        )

    def update(
        self, time: float, seen: MeasuredRange, noise: float, direction: NDArray[np.float64]
    ) -> None:
        """Update with a measured range. noise: its standard deviation as a share of the range."""
        if self._state is None:
            if seen.at_most:
                return
            self._time, self._state = time, np.array([seen.range, 0.0])
            self._covariance = np.diag([(noise * seen.range) ** 2, FIRST_SPEED**2])
            return
        state, covariance = self._expected(self._state, time, direction)
        # Noise is relative to the larger of expected and measured range: a range that is short by
        # chance would get too much weight.
        deviation = noise * max(float(state[0]), seen.range, LEAST_RANGE)
        if not (seen.at_most and seen.range >= state[0]):
            gain = covariance[:, 0] / (covariance[0, 0] + deviation**2)
            state = state + gain * (seen.range - state[0])
            rest = np.eye(2)
            rest[:, 0] -= gain
            covariance = rest @ covariance @ rest.T + np.outer(gain, gain) * deviation**2
        state[0] = max(float(state[0]), LEAST_RANGE)
        self._time, self._state, self._covariance = time, state, covariance

    def _expected(
        self, state: NDArray[np.float64], time: float, direction: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        dt = time - self._time
        motion = np.array([[1.0, dt], [0.0, 1.0]])
        noise = self.process_noise**2 * np.array(
            [[abs(dt) ** 3 / 3, dt * dt / 2], [dt * dt / 2, abs(dt)]]
        )
        own = float(self._ego.travel(self._time, time) @ direction)
        expected = motion @ state - np.array([own, 0.0])
        return expected, motion @ self._covariance @ motion.T + noise
