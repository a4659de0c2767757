# SPDX-License-Identifier: Apache-2.0
"""Decides whether a measurement can be the target that is being followed."""

from __future__ import annotations

import math

from hcat_ros.following.bearing_filter import Bearing, BearingFilter
from hcat_ros.following.config import FollowConfig
from hcat_ros.following.ego_motion import EgoMotion
from hcat_ros.following.measurement import BearingMeasurement

LOST_GATE = 0.25
"""Share of its size by which a lost target may be away from the expected bearing."""


class Plausibility:
    """Refuses jumps of bearing and size until several consecutive measurements agree.

    Refused measurements that lie on one course are accepted as the target, which the tracker has
    found again; scattered ones never are. In the same way a course is only followed once its first
    measurements have agreed. Each refused measurement then requires one more plausible one, because
    among scattered measurements some are plausible by chance.
    """

    def __init__(self, ego: EgoMotion) -> None:
        self._ego = ego
        self._last: BearingMeasurement | None = None
        self._other: BearingFilter | None = None
        self._other_last: BearingMeasurement | None = None
        self._agreeing = 0
        self._good = 0
        self._doubt = 0

    def forget_target(self) -> None:
        """Forget the target: the next measurement is plausible."""
        self._doubt = 0
        self.forget_course()

    def forget_course(self) -> None:
        """Forget where the target was, but keep how many more plausible measurements are needed."""
        self._last = self._other = self._other_last = None
        self._agreeing = self._good = 0

    def refusal(
        self, measurement: BearingMeasurement, course: BearingFilter, config: FollowConfig
    ) -> str:
        """Return why a measurement cannot be the target on `course`, '' if it can.

        Call this once for each measurement, because it counts the measurements that agree.
        """
        reason = _implausible(measurement, self._last, course, config)
        if reason:
            self._consider(measurement, config)
            self._doubt = min(self._doubt + 1, config.rejections)
        else:
            self._last, self._other, self._agreeing = measurement, None, 0
            self._good += 1
            self._doubt = max(self._doubt - 1, 0)
        return reason

    def on_course(self, measurement: BearingMeasurement, expected: Bearing | None) -> bool:
        """Return whether the track of a lost target lies where the target is expected.

        This is tighter than the gate: a tracker slides from a hidden target onto the obstacle, and
        a course that follows each small step would end up on the obstacle.
        """
        if self._last is None or expected is None:
            return False
        aside = math.remainder(measurement.azimuth - expected.azimuth, 2 * math.pi)
        above = measurement.elevation - expected.elevation
        return (
            abs(aside) < LOST_GATE * measurement.width_rad
            and abs(above) < LOST_GATE * measurement.height_rad
        )

    def missing_confirmations(self, config: FollowConfig) -> int:
        """Return how many more plausible measurements are needed before the platform moves."""
        return max(config.confirmations - self._good, self._doubt)

    def gives_way(self, config: FollowConfig) -> bool:
        """Return whether the measurement that was just refused begins a new course.

        It does if enough refused ones agree, or if the old course was never confirmed.
        """
        return self._agreeing >= config.rejections or self._good < config.confirmations

    def begin(self, measurement: BearingMeasurement) -> None:
        """Begin a new course; the refused measurements that agreed count as confirmations."""
        agreeing = self._agreeing
        self.forget_course()
        self._last, self._good = measurement, agreeing
        self._doubt = max(self._doubt - agreeing, 0)

    def _consider(self, measurement: BearingMeasurement, config: FollowConfig) -> None:
        if self._other is None or _implausible(measurement, self._other_last, self._other, config):
            self._other = BearingFilter(self._ego, config.bearing_process_noise)
            self._agreeing = 0
        self._other.update(measurement)
        self._other_last = measurement
        self._agreeing += 1


def _degrees(measurement: BearingMeasurement, course: BearingFilter) -> float:
    """Return the angle between a measured and the expected bearing, degrees."""
    expected = course.at(measurement.stamp)
    if expected is None:
        return 0.0
    aside = math.remainder(measurement.azimuth - expected.azimuth, 2 * math.pi)
    aside *= math.cos(expected.elevation)
    return math.degrees(math.hypot(aside, measurement.elevation - expected.elevation))


def _implausible(
    measurement: BearingMeasurement,
    last: BearingMeasurement | None,
    course: BearingFilter,
    config: FollowConfig,
) -> str:
    if last is None:
        return ''
    distance = course.distance(measurement)
    if distance > config.gate:
        return f'{_degrees(measurement, course):.1f} degrees from where it was expected'
    most = math.log(config.size_jump)
    sizes = (
        ('width', measurement.width_rad, last.width_rad),
        ('height', measurement.height_rad, last.height_rad),
    )
    for name, size, before in sizes:
        if abs(math.log(size / before)) > most:
            return f'its {name} is {size / before:.2f} times that of the track before'
    return ''
