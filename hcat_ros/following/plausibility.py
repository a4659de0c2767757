# SPDX-License-Identifier: Apache-2.0
"""Whether a measurement can be the target that has been followed so far."""

from __future__ import annotations

import math

from hcat_ros.following.bearing_filter import Bearing, BearingFilter
from hcat_ros.following.config import FollowConfig
from hcat_ros.following.ego_motion import EgoMotion
from hcat_ros.following.measurement import BearingMeasurement

LOST_GATE = 0.25
"""Share of the target's size by which a lost one may lie away from the expected bearing."""


class Plausibility:
    """Refuses jumps of place and size, until several in a row agree with each other.

    Refused measurements that follow one and the same course are the target after all, seen anew
    (the tracker found it again); refused ones that lie anywhere never become it. In the same way
    a course is only to be followed after its first measurements have agreed, and after refused
    ones as many plausible ones: among many that lie anywhere some are plausible by chance.
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
        """Forget where the target was, but not how far its measurements are to be doubted."""
        self._last = self._other = self._other_last = None
        self._agreeing = self._good = 0

    def refusal(
        self, measurement: BearingMeasurement, course: BearingFilter, config: FollowConfig
    ) -> str:
        """Return why a measurement is not the target that `course` follows, '' if it may be.

        To be called once for each measurement: it counts those that agree.
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
        """Return whether what is seen in place of a lost target is just where that would be.

        Closer than the gate: a tracker slides from a target that is hidden to what hides it, and
        a course that follows each step of that ends up there.
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
        """Return how many plausible measurements are still to come before one moves by them."""
        return max(config.confirmations - self._good, self._doubt)

    def gives_way(self, config: FollowConfig) -> bool:
        """Return whether the last measurement, which was refused, is to begin a new course.

        So it is when enough refused ones agree, or when the old course never was confirmed.
        """
        return self._agreeing >= config.rejections or self._good < config.confirmations

    def begin(self, measurement: BearingMeasurement) -> None:
        """Begin a new course, which has been confirmed by all refused ones that agreed."""
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
    """Return the angle between where a target is seen and where it was expected."""
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
