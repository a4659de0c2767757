# SPDX-License-Identifier: Apache-2.0
"""Turns tracks into motion commands: the one class that nodes and simulations use."""

from __future__ import annotations

import math
from dataclasses import replace

from hcat_ros.following.bearing_filter import Bearing, BearingFilter
from hcat_ros.following.command import Command
from hcat_ros.following.config import FollowConfig
from hcat_ros.following.ego_motion import MEMORY, EgoMotion
from hcat_ros.following.measurement import BearingMeasurement
from hcat_ros.following.plausibility import Plausibility
from hcat_ros.following.range_filter import MeasuredRange, Range, RangeFilter, RangeFromSize
from hcat_ros.following.safety import CLOCK_TOLERANCE, Safety, Verdict
from hcat_ros.following.steering import Seen, Steering, trusted

LONGEST_STEP = 0.2
"""Longest time step of the controllers, s, also after a pause between two calls."""
BEFORE_LOSS = 0.4
"""Seconds before a loss at which the target's course is taken: a target that is being covered seems
to slow down."""
FORGET_AFTER = 10.0
"""Seconds without a track after which the same target is treated as a new one."""
LOST_NOISE = 6.0
"""Factor on the standard deviation of a lost target's bearings: behind an obstacle the box drifts
onto the obstacle, and the course must not drift with it."""
DEPTH_HOLD = 0.5
"""Seconds after a depth during which the range from the target's size is ignored."""
DEPTH_JUMP = 0.3
"""Share of the expected range by which a depth may always differ from it."""
SAME_DEPTH = 0.15
"""Share by which consecutive unexpected depths may differ and still agree."""
SAME_IMAGE = 0.05
"""Largest difference between the stamps of depth and track of the same image, s."""
TIME_JITTER = 0.01
"""Seconds by which time may run backwards between two calls without counting as a jump."""


class Follower:
    """Turns tracks into commands. All times are seconds of the clock that stamps the images.

    Call `activate(now)` once, `track(measurement, now)` for each track, and `command(now)` at a
    steady rate. Bad input never raises. Refused tracks do not count: without an accepted track
    the speed fades to zero within `stale_timeout`. A refused depth changes nothing.
    """

    def __init__(self, config: FollowConfig) -> None:
        self.config = config
        self.ego_motion = EgoMotion(config.actuation_delay, config.actuation_lag)
        """The camera's own motion, from commands and measured rates."""
        self._bearing = BearingFilter(self.ego_motion, config.bearing_process_noise)
        self._range = RangeFilter(self.ego_motion, config.range_process_noise)
        self._size = RangeFromSize()
        self._plausibility = Plausibility(self.ego_motion)
        self._safety = Safety()
        self._steering = Steering(config)
        self._target: str | None = None
        self._first_range = 0.0
        self._measured: BearingMeasurement | None = None
        """Last accepted measurement of a target in view."""
        self._depth_time = -math.inf
        self._unexpected: list[float] = []
        """Consecutive depths that differed from the expected range, m."""
        self.range_source = ''
        """Source of the last range: 'depth', 'size', 'relative', or '' before the first."""
        self._last_accepted = -math.inf
        """Arrival of the last accepted track, also of a lost target."""
        self._last_on_course = -math.inf
        """Stamp of the last track that lay where the target was expected."""
        self._now = -math.inf
        self._commanded: float | None = None

    def configure(self, config: FollowConfig) -> None:
        """Change gains and limits while following; another platform or range mode resets it."""
        before, self.config = self.config, config
        self.ego_motion.delay, self.ego_motion.lag = config.actuation_delay, config.actuation_lag
        self._bearing.process_noise = config.bearing_process_noise
        self._range.process_noise = config.range_process_noise
        self._steering.configure(config)
        if (before.platform, before.range_mode) != (config.platform, config.range_mode):
            self._forget_target()
            self._safety.start_anew()
            self._steering.stop()

    def activate(self, now: float) -> None:
        """Allow motion once a track arrives whose image was taken at or after `now`.

        A `now` that is not finite deactivates.
        """
        if not math.isfinite(now):
            self.deactivate()
            return
        self._start_anew(now)
        self._safety.activate(now)

    def deactivate(self) -> None:
        """Command only zero from now on, and forget the target."""
        self._start_anew(-math.inf)
        self._safety.deactivate()

    @property
    def is_active(self) -> bool:
        """Whether the follower has been activated."""
        return self._safety.is_active

    def hold(self, on: bool) -> None:
        """Stand still at once while `on`, also across activations; tracks are still processed."""
        self._safety.holding = on

    def track(
        self,
        measurement: BearingMeasurement | None,
        now: float,
        lost: bool = False,
        waited: float = 0.0,
    ) -> str:
        """Process a track. Returns why it was refused, '' if it was accepted.

        waited: seconds between the arrival of the track and `now`; they count towards its age.
        lost: whether the tracker reports the target lost; `measurement` is then the place where it
        searches, with any score, or None. An accepted track may not move the platform yet:
        `confirmations` of them must agree. For a lost target, '' means that the platform keeps
        turning along the target's course.
        """
        if not self._set_time(now):
            return 'time is not a number'
        arrival = self._now - waited
        if measurement is None or lost:
            self._safety.record_loss(arrival)
            return '' if measurement and self._follow_lost(measurement, arrival) else 'target lost'
        reason = self._admit(measurement, self._now)
        if reason:
            self._safety.record_refusal(reason)
            return reason
        self._bearing.update(measurement)
        self._measure_range(measurement)
        self._last_accepted, self._last_on_course = arrival, measurement.stamp
        missing = self._plausibility.missing_confirmations(self.config)
        self._safety.record_track(measurement.stamp, measurement.score, arrival, missing)
        return ''

    def record_depth(self, stamp: float, distance: float, deviation: float, now: float) -> str:
        """Record the target's distance from the camera (m) in the depth image with this stamp.

        deviation: standard deviation, m. Returns why it was refused, '' if it was accepted.
        """
        if not self._set_time(now):
            return 'time is not a number'
        if not (math.isfinite(stamp) and 0 < distance < math.inf and 0 < deviation < math.inf):
            return f'distance {distance:g} m with deviation {deviation:g} m'
        if self.config.range_mode != 'depth':
            return f'range_mode is {self.config.range_mode}'
        bearing = self.bearing(stamp)
        if bearing is None or not abs(self._now - stamp) <= self.config.max_latency:
            return 'no image in which the target was tracked has this stamp'
        expected = self._range.at(stamp, bearing.direction)
        if expected is not None and expected.is_known and self.range_source == 'depth':
            apart = abs(distance - expected.range)
            likely = self.config.gate * math.hypot(deviation, expected.deviation)
            if apart > max(likely, DEPTH_JUMP * expected.range):
                if not self._confirms(distance):
                    return f'{distance:.2f} m where {expected.range:.2f} m was expected'
                self._range.clear()
        self._unexpected.clear()
        measured = MeasuredRange(distance, False, 'depth')
        self._range.update(stamp, measured, deviation / distance, bearing.direction)
        self._depth_time, self.range_source = stamp, 'depth'
        self._first_range = self._first_range or distance
        if self._measured is not None and abs(self._measured.stamp - stamp) <= SAME_IMAGE:
            self._size.learn(self._measured, distance)
        self._use_range(stamp)
        return ''

    def _confirms(self, distance: float) -> bool:
        """Record an unexpected depth; return whether enough consecutive ones agree."""
        if self._unexpected and abs(distance / self._unexpected[-1] - 1) > SAME_DEPTH:
            self._unexpected.clear()
        self._unexpected.append(distance)
        return len(self._unexpected) >= self.config.confirmations

    def record_blindness(self, reason: str, now: float) -> None:
        """Stand still at once, because the images do not show the present scene."""
        if self._set_time(now):
            self._safety.record_blindness(reason)

    def record_turning(
        self, time: float, yaw_rate: float, pitch_rate: float = 0.0, *, now: float
    ) -> str:
        """Record measured rates (gyroscope, rad/s), which replace the commanded ones.

        Returns why they were refused, '' if they were not. Rates from the future are refused,
        because later ones would count as older. Rates no newer than the last change nothing.
        """
        if not self._set_time(now):
            return 'time is not a number'
        if not (math.isfinite(time) and math.isfinite(yaw_rate) and math.isfinite(pitch_rate)):
            return (
                f'rates {yaw_rate:g}, {pitch_rate:g} rad/s at {time:g} s: expected finite numbers'
            )
        if time > self._now + CLOCK_TOLERANCE:
            return (
                f'it is from {time - self._now:.2f} s in the future: are the clocks synchronised?'
            )
        self.ego_motion.record_turning(time, yaw_rate, pitch_rate)
        return ''

    def command(self, now: float) -> Command:
        """Return the command to send now."""
        if not self._set_time(now):
            self._steering.stop()
            return Command(reason='time is not a number')
        now = self._now
        dt = min(now - self._commanded, LONGEST_STEP) if self._commanded is not None else 0.0
        self._commanded = now
        verdict = self._safety.verdict(now, self.config)
        if verdict.at_once:
            self._steering.stop()
            command = Command(reason=verdict.reason)
        else:
            command = self._motion(now, dt, verdict)
        self.ego_motion.record_command(now, command)
        return command

    @property
    def motion_ends(self) -> float:
        """Time from which `command` is zero unless another good track arrives."""
        return self._safety.motion_ends(self.config)

    def bearing(self, time: float) -> Bearing | None:
        """Return the bearing of the target at a time, None if it is unknown."""
        last = self._bearing.last
        if last is None or not abs(time - last.time) <= MEMORY:
            return None
        return self._bearing.at(time)

    def target_range(self, time: float) -> Range | None:
        """Return the range of the target at a time, None if it is unknown."""
        bearing = self.bearing(time)
        if bearing is None:
            return None
        found = self._range.at(time, bearing.direction)
        return found if found is not None and found.is_known else None

    def target_size(self, time: float) -> tuple[float, float] | None:
        """Return width and height of the target, m, from its last box; None without a range."""
        found, seen = self.target_range(time), self._measured
        if found is None or seen is None:
            return None
        width, height = (
            2 * found.range * math.tan(min(angle, 3.0) / 2)
            for angle in (seen.width_rad, seen.height_rad)
        )
        return width, height

    def _follow_lost(self, measurement: BearingMeasurement, arrival: float) -> bool:
        """Process the place where the tracker searches for a lost target.

        Returns whether the platform keeps turning along the course of the target.
        """
        if (
            not measurement.is_sound()
            or measurement.target != self._target
            or self._safety.refusal(measurement.stamp, self._now, self.config)
        ):
            return False
        on_course = self._plausibility.on_course(measurement, self.bearing(measurement.stamp))
        if not self._safety.record_search(measurement.stamp, arrival, on_course, self.config):
            return False
        if on_course:
            # The box keeps the size of the last track, so it says nothing about the range.
            doubtful = measurement.covariance * LOST_NOISE**2
            self._bearing.update(replace(measurement, covariance=doubtful))
            self._last_on_course = measurement.stamp
        else:
            self._bearing.rewind(self._last_on_course - BEFORE_LOSS)
        self._last_accepted = arrival
        return True

    def _admit(self, measurement: BearingMeasurement, now: float) -> str:
        """Return why a measurement is refused, '' if it is used.

        Drops outdated state first: another target, or one that was away for long, starts anew.
        """
        if not measurement.is_sound():
            return 'its numbers are not finite, or not valid angles, sizes and variances'
        if not 0 <= measurement.score <= 1:
            return f'score {measurement.score:g} is not from 0 to 1'
        reason = self._safety.refusal(measurement.stamp, now, self.config)
        if reason:
            return reason
        if measurement.target != self._target:
            if self._target is not None:
                self._safety.record_replacement()
            self._forget_target()
            self._target = measurement.target
        elif now - self._last_accepted >= FORGET_AFTER:
            # This may be another object by now, so the size at the start no longer holds.
            self._forget_target()
            self._target = measurement.target
        elif now - self._last_accepted >= self.config.stale_timeout:
            # The course is out of date, but the size at the start still holds.
            self._forget_course()
        reason = self._plausibility.refusal(measurement, self._bearing, self.config)
        if reason and self._plausibility.gives_way(self.config):
            self._bearing.clear()
            self._range.clear()
            self._plausibility.begin(measurement)
            return ''
        return reason

    def _measure_range(self, measurement: BearingMeasurement) -> None:
        self._measured = measurement
        last = self._bearing.last
        seen = self._size.of(measurement, self.config)
        if measurement.stamp - self._depth_time < DEPTH_HOLD:
            seen = None
        if seen is not None and last is not None:
            self._range.update(measurement.stamp, seen, self.config.range_noise, last.direction)
            self.range_source = seen.source
            if not self._first_range and not seen.at_most:
                self._first_range = seen.range
        self._use_range(measurement.stamp)

    def _use_range(self, stamp: float) -> None:
        """Pass the range to the bearing filter.

        The nearer the target, the more the platform's own travel changes its bearing.
        """
        found = self.target_range(stamp)
        self._bearing.range = found.range if found is not None else None

    def _motion(self, now: float, dt: float, verdict: Verdict) -> Command:
        """Return the command for the target's place at the time when the command takes effect."""
        config, last = self.config, self._bearing.last
        if last is None or verdict.share == 0:
            return self._steering.brake(dt, verdict)
        when = now + config.actuation_delay if config.compensate_latency else last.time
        bearing = self._bearing.at(when) or last
        distance = self._range.at(when, bearing.direction)
        seen = Seen(
            math.remainder(bearing.azimuth - config.desired_azimuth, 2 * math.pi),
            bearing.elevation - config.desired_elevation,
            trusted(bearing.azimuth_rate, float(last.covariance[2, 2])),
            trusted(bearing.elevation_rate, float(last.covariance[3, 3])),
            distance if distance is not None and distance.is_known else None,
            config.desired_range or self._first_range,
        )
        return self._steering.drive(config, seen, dt, verdict)

    def _set_time(self, now: float) -> bool:
        """Record the time; a jump backwards resets the follower. Returns whether it is finite."""
        if not math.isfinite(now):
            return False
        if now < self._now - TIME_JITTER:
            active = self._safety.is_active
            self._start_anew(now)
            if active:
                self._safety.activate(now)
        self._now = max(now, self._now)
        return True

    def _start_anew(self, now: float) -> None:
        self._forget_target()
        self._steering.stop()
        self.ego_motion.clear()
        self._safety.start_anew()
        self._now, self._commanded, self._last_accepted = now, None, -math.inf

    def _forget_target(self) -> None:
        self._forget_course()
        self._plausibility.forget_target()
        self._size.clear()
        self._target, self._first_range = None, 0.0

    def _forget_course(self) -> None:
        self._bearing.clear()
        self._range.clear()
        self._measured, self._depth_time, self.range_source = None, -math.inf, ''
        self._unexpected.clear()
        self._plausibility.forget_course()
