# SPDX-License-Identifier: Apache-2.0
"""Estimates the target's bearing and bearing rates with a Kalman filter."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.following.ego_motion import EgoMotion
from hcat_ros.following.measurement import BearingMeasurement

FIRST_RATE = 1.0
"""Standard deviation of the bearing rates after the first measurement, rad/s."""
PAST = 1.0
"""Seconds of past states that are kept for `rewind`."""
NEAREST = 0.3
"""Share of the range: the bearing is not corrected for a travel that leaves less distance."""

Array = NDArray[np.float64]


class Bearing(NamedTuple):
    """A bearing at a time, in the camera mount's frame at that time."""

    time: float
    azimuth: float
    """rad to the left."""
    elevation: float
    """rad up."""
    azimuth_rate: float
    """rad/s, without the part that the camera's own turning causes."""
    elevation_rate: float
    covariance: NDArray[np.float64]
    """(4, 4) of azimuth, elevation and their rates, in this order; rad^2, rad^2/s, rad^2/s^2."""

    @property
    def direction(self) -> Array:
        """The unit vector (3,) forward, left, up."""
        return _direction(self.azimuth, self.elevation)


class BearingFilter:
    """Constant-velocity Kalman filter over (azimuth, elevation, their rates).

    A prediction moves the bearing with the target's own rates and then rotates it into the camera
    frame of the new time. A target in view is therefore never near straight up or down, where the
    azimuth is undefined, and a prediction over a delay stays right while the platform turns.
    The rates are random walks: their variance grows by `process_noise`^2 per second, (rad/s)^2.
    """

    def __init__(self, ego: EgoMotion, process_noise: float) -> None:
        self.process_noise = process_noise
        self.range: float | None = None
        """Range of the target, m; if known, the bearing is corrected for the platform's travel."""
        self._ego = ego
        self._bearing: Bearing | None = None
        self._past: deque[Bearing] = deque()

    @property
    def last(self) -> Bearing | None:
        """State at the last measurement that `rewind` has not undone; None before the first."""
        return self._bearing

    def clear(self) -> None:
        """Forget the target."""
        self._bearing = self.range = None
        self._past.clear()

    def rewind(self, time: float) -> None:
        """Forget the measurements after `time`; if all are newer, keep the oldest one known."""
        while len(self._past) > 1 and self._past[-1].time > time:
            self._past.pop()
        if self._past:
            self._bearing = self._past[-1]

    def start(self, measurement: BearingMeasurement) -> None:
        """Begin with a first measurement; the rates are unknown. Past states are kept."""
        covariance = np.diag([0.0, 0.0, FIRST_RATE**2, FIRST_RATE**2])
        covariance[:2, :2] = measurement.covariance
        self._bearing = Bearing(
            measurement.stamp, measurement.azimuth, measurement.elevation, 0.0, 0.0, covariance
        )
        self._past.append(self._bearing)

    def at(self, time: float) -> Bearing | None:
        """Return the bearing at a time, None before the first measurement."""
        state = self._bearing
        if state is None:
            return None
        dt = time - state.time
        motion = np.eye(4)
        motion[0, 2] = motion[1, 3] = dt
        noise = np.zeros((4, 4))
        noise[0, 0] = noise[1, 1] = abs(dt) ** 3 / 3
        noise[0, 2] = noise[2, 0] = noise[1, 3] = noise[3, 1] = dt * dt / 2
        noise[2, 2] = noise[3, 3] = abs(dt)
        covariance = motion @ state.covariance @ motion.T + self.process_noise**2 * noise
        azimuth, elevation = self._after_travel(
            state.azimuth + state.azimuth_rate * dt,
            state.elevation + state.elevation_rate * dt,
            self._ego.travel(state.time, time),
        )
        moved = Bearing(
            time,
            azimuth,
            elevation,
            state.azimuth_rate,
            state.elevation_rate,
            covariance,
        )
        return _rotate(moved, self._ego.rotation(state.time, time))

    def _after_travel(self, azimuth: float, elevation: float, travel: Array) -> tuple[float, float]:
        """Return the bearing after the platform has travelled by `travel` (3,), m."""
        if self.range is None or not travel.any():
            return azimuth, elevation
        ahead = self.range * _direction(azimuth, elevation) - travel
        if float(np.linalg.norm(ahead)) < NEAREST * self.range:
            return azimuth, elevation
        return _angles(ahead)

    def distance(self, measurement: BearingMeasurement) -> float:
        """Return the Mahalanobis distance of a measurement from the expected bearing."""
        expected = self.at(measurement.stamp)
        if expected is None:
            return 0.0
        innovation = _innovation(measurement, expected)
        spread = expected.covariance[:2, :2] + measurement.covariance
        return math.sqrt(max(0.0, float(innovation @ np.linalg.solve(spread, innovation))))

    def update(self, measurement: BearingMeasurement) -> None:
        """Update with a measurement: x += K (z - H x), K = P H^T (H P H^T + R)^-1, H = [I 0]."""
        expected = self.at(measurement.stamp)
        if expected is None:
            self.start(measurement)
            return
        prior = expected.covariance
        spread = prior[:2, :2] + measurement.covariance
        gain = np.linalg.solve(spread, prior[:2]).T
        change = gain @ _innovation(measurement, expected)
        # Joseph's form keeps the covariance symmetric and positive despite rounding.
        rest = np.eye(4)
        rest[:, :2] -= gain
        covariance = rest @ prior @ rest.T + gain @ measurement.covariance @ gain.T
        azimuth, elevation, azimuth_rate, elevation_rate = (
            np.array(expected[1:5], np.float64) + change
        ).tolist()
        self._bearing = Bearing(
            measurement.stamp,
            _wrap(azimuth),
            min(max(elevation, -math.pi / 2), math.pi / 2),
            azimuth_rate,
            elevation_rate,
            covariance,
        )
        self._past.append(self._bearing)
        while self._past[0].time < measurement.stamp - PAST:
            self._past.popleft()


def _innovation(measurement: BearingMeasurement, expected: Bearing) -> Array:
    return np.array(
        [
            _wrap(measurement.azimuth - expected.azimuth),
            measurement.elevation - expected.elevation,
        ]
    )


def _rotate(bearing: Bearing, rotation: Array) -> Bearing:
    """Return a bearing in the frame of a camera that has turned by `rotation` (3, 3)."""
    azimuth, elevation = bearing.azimuth, bearing.elevation
    direction = rotation.T @ _direction(azimuth, elevation)
    # Columns: how the direction changes with azimuth and with elevation.
    tangent = rotation.T @ np.array(
        [
            [-math.cos(elevation) * math.sin(azimuth), -math.sin(elevation) * math.cos(azimuth)],
            [math.cos(elevation) * math.cos(azimuth), -math.sin(elevation) * math.sin(azimuth)],
            [0.0, math.cos(elevation)],
        ]
    )
    x, y, _ = direction.tolist()
    across = max(math.hypot(x, y), 1e-6)
    back = np.array([[-y / across**2, x / across**2, 0.0], [0.0, 0.0, 1 / across]])
    turned = back @ tangent
    both = np.zeros((4, 4))
    both[:2, :2] = both[2:, 2:] = turned
    azimuth_rate, elevation_rate = (
        turned @ np.array([bearing.azimuth_rate, bearing.elevation_rate])
    ).tolist()
    return Bearing(
        bearing.time,
        *_angles(direction),
        azimuth_rate,
        elevation_rate,
        both @ bearing.covariance @ both.T,
    )


def _direction(azimuth: float, elevation: float) -> Array:
    across = math.cos(elevation)
    return np.array([across * math.cos(azimuth), across * math.sin(azimuth), math.sin(elevation)])


def _angles(direction: Array) -> tuple[float, float]:
    x, y, z = direction.tolist()
    return math.atan2(y, x), math.atan2(z, math.hypot(x, y))


def _wrap(angle: float) -> float:
    """Return the same angle in the range -pi to pi."""
    return math.remainder(angle, 2 * math.pi)
