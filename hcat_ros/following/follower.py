# SPDX-License-Identifier: Apache-2.0
"""From tracks to motion: the one class that a node or a simulation drives."""

from __future__ import annotations

import math

from hcat_ros.following.axis import Axis
from hcat_ros.following.bearing_filter import Bearing, BearingFilter
from hcat_ros.following.command import Command
from hcat_ros.following.config import AXES, FollowConfig
from hcat_ros.following.ego_motion import MEMORY, EgoMotion
from hcat_ros.following.measurement import BearingMeasurement
from hcat_ros.following.plausibility import Plausibility
from hcat_ros.following.range_filter import Range, RangeFilter, RangeFromSize
from hcat_ros.following.safety import Safety, Verdict

LONGEST_STEP = 0.2
"""Seconds that one step of the controllers counts for at most, after a pause of the caller."""
TIME_JITTER = 0.01
"""Seconds by which time may run backwards between two calls without counting as a jump."""


class Follower:
    """Turns tracks into commands. All times in seconds, of the clock that the stamps are on.

    `activate(now)` once, `track(measurement, now)` for each track that arrives, `command(now)` at
    a steady rate. Nothing that comes in raises: what is refused stops the platform.
    """

    def __init__(self, config: FollowConfig) -> None:
        self.config = config
        self._ego = EgoMotion(config.actuation_delay, config.actuation_lag)
        self._bearing = BearingFilter(self._ego, config.bearing_process_noise)
        self._range = RangeFilter(self._ego, config.range_process_noise)
        self._size = RangeFromSize()
        self._plausibility = Plausibility(self._ego)
        self._safety = Safety()
        self._axes = {
            name: Axis(getattr(config, name), config.derivative_smoothing, self._reverse(name))
            for name in AXES
        }
        self._target: str | None = None
        self._first_range = 0.0
        self._taken = -math.inf
        self._now = -math.inf
        self._commanded: float | None = None

    def configure(self, config: FollowConfig) -> None:
        """Change gains and limits while following; another platform or range mode starts anew."""
        before, self.config = self.config, config
        self._ego.delay, self._ego.lag = config.actuation_delay, config.actuation_lag
        self._bearing.process_noise = config.bearing_process_noise
        self._range.process_noise = config.range_process_noise
        for name, axis in self._axes.items():
            axis.configure(getattr(config, name), config.derivative_smoothing, self._reverse(name))
        if (before.platform, before.range_mode) != (config.platform, config.range_mode):
            self._forget_target()
            self._safety.start_anew()
            self._stand_still()

    def activate(self, now: float) -> None:
        """Allow commands, from the first track on whose image is not older than `now`."""
        if not math.isfinite(now):
            self.deactivate()
            return
        self._start_anew(now)
        self._safety.activate(now)

    def deactivate(self) -> None:
        """Command nothing but zero, and forget the target."""
        self._start_anew(-math.inf)
        self._safety.deactivate()

    @property
    def is_active(self) -> bool:
        """Whether it has been activated."""
        return self._safety.is_active

    @property
    def is_holding(self) -> bool:
        """Whether it stands still on `hold`."""
        return self._safety.holding

    def hold(self, on: bool) -> None:
        """Stand still at once while on, also over an activation; the target is still watched."""
        self._safety.holding = on

    def track(self, measurement: BearingMeasurement | None, now: float) -> str:
        """Take a track that has arrived, None for one that says that the target is lost.

        Returns why it was refused, '' if it was taken.
        """
        if not self._set_time(now):
            return 'time is not a number'
        if measurement is None:
            self._safety.lost()
            return ''
        reason = self._refusal(measurement, self._now)
        if reason:
            self._safety.refused(reason)
            return reason
        self._bearing.update(measurement)
        self._measure_range(measurement)
        self._taken = self._now
        missing = self._plausibility.missing(self.config)
        self._safety.taken(measurement.stamp, measurement.score, self._now, missing)
        return ''

    def turned(self, time: float, yaw_rate: float, pitch_rate: float = 0.0) -> None:
        """Take measured turning (odometry, gyroscope: rad/s), better than what was commanded."""
        if math.isfinite(time) and math.isfinite(yaw_rate) and math.isfinite(pitch_rate):
            self._ego.measured(time, yaw_rate, pitch_rate)

    def command(self, now: float) -> Command:
        """Return what to do now."""
        if not self._set_time(now):
            self._stand_still()
            return Command(reason='time is not a number')
        now = self._now
        dt = min(now - self._commanded, LONGEST_STEP) if self._commanded is not None else 0.0
        self._commanded = now
        verdict = self._safety.verdict(now, self.config)
        if verdict.at_once:
            self._stand_still()
            command = Command(reason=verdict.reason)
        else:
            command = self._motion(now, dt, verdict)
        self._ego.commanded(now, command)
        return command

    def bearing(self, time: float) -> Bearing | None:
        """Return where the target is seen from the camera at a time, None if not known."""
        last = self._bearing.last
        if last is None or not abs(time - last.time) <= MEMORY:
            return None
        return self._bearing.at(time)

    def target_range(self, time: float) -> Range | None:
        """Return how far the target is at a time, None if not known."""
        bearing = self.bearing(time)
        if bearing is None:
            return None
        found = self._range.at(time, bearing.direction)
        return found if found is not None and found.is_known else None

    def _refusal(self, measurement: BearingMeasurement, now: float) -> str:
        if not measurement.is_sound():
            return 'not finite, or no angles'
        if not 0 <= measurement.score <= 1:
            return f'score {measurement.score:g} is not from 0 to 1'
        reason = self._safety.refusal(measurement.stamp, now, self.config)
        if reason:
            return reason
        if measurement.target != self._target:
            if self._target is not None:
                self._safety.replaced()
            self._forget_target()
            self._target = measurement.target
        elif now - self._taken >= self.config.stale_timeout:
            # What was known is old; the target starts where it is, with its size at the start kept.
            self._forget_course()
        reason = self._plausibility.refusal(measurement, self._bearing, self.config)
        if reason and self._plausibility.gives_way(self.config):
            self._bearing.clear()
            self._range.clear()
            self._plausibility.begin(measurement)
            return ''
        return reason

    def _measure_range(self, measurement: BearingMeasurement) -> None:
        seen = self._size.of(measurement, self.config)
        last = self._bearing.last
        if seen is not None and last is not None:
            self._range.update(measurement.stamp, seen, self.config.range_noise, last.direction)
            if not self._first_range and not seen.at_most:
                self._first_range = seen.range
        found = self.target_range(measurement.stamp)
        self._bearing.range = found.range if found is not None else None

    def _motion(self, now: float, dt: float, verdict: Verdict) -> Command:
        """Return the command for where the target is when it takes effect."""
        config, last = self.config, self._bearing.last
        if last is None or verdict.share == 0:
            braked = {name: axis.approach(0.0, dt) for name, axis in self._axes.items()}
            return self._as_command(braked, verdict)
        when = now + config.actuation_delay if config.compensate_latency else last.time
        bearing = self._bearing.at(when) or last
        distance = self._range.at(when, bearing.direction)
        if distance is not None and not distance.is_known:
            distance = None
        azimuth = math.remainder(bearing.azimuth - config.desired_azimuth, 2 * math.pi)
        elevation = bearing.elevation - config.desired_elevation
        yaw_motion = _trusted(bearing.azimuth_rate, float(last.covariance[2, 2]))
        up_motion = _trusted(bearing.elevation_rate, float(last.covariance[3, 3]))
        share = verdict.share
        speeds: dict[str, float] = {}
        axes = self._axes
        if config.platform == 'gimbal':
            speeds['yaw'] = axes['yaw'].drive(azimuth, yaw_motion, dt, share)
            speeds['pitch'] = axes['pitch'].drive(elevation, up_motion, dt, share)
            return self._as_command(speeds, verdict)
        speeds['yaw'] = axes['yaw'].drive(azimuth, yaw_motion, dt, share)
        if verdict.turning_only:
            others = ('forward', 'climb', 'lateral')
            speeds |= {name: axes[name].approach(0.0, dt) for name in others}
            return self._as_command(speeds, verdict)
        speeds['forward'] = self._forward(azimuth, distance, dt, share)
        if config.platform == 'drone':
            # Angles are metres at a range. One that is not known is taken to be as desired, and
            # there the platform's own way cannot be told from the target's.
            metres = distance.range if distance is not None else self._desired_range or 1.0
            if distance is None:
                yaw_motion = up_motion = 0.0
            speeds['climb'] = axes['climb'].drive(
                metres * math.sin(elevation), metres * up_motion, dt, share
            )
            speeds['lateral'] = axes['lateral'].drive(
                metres * math.sin(azimuth), metres * yaw_motion, dt, share
            )
        return self._as_command(speeds, verdict)

    def _forward(self, azimuth: float, distance: Range | None, dt: float, share: float) -> float:
        """Return the speed forward: none while turned away or not knowing the range."""
        config, axis = self.config, self._axes['forward']
        facing = (config.turn_stop - abs(azimuth)) / (config.turn_stop - config.turn_slow)
        facing = min(max(facing, 0.0), 1.0)
        if facing == 0:
            return axis.approach(0.0, dt)
        if distance is None:
            return axis.approach(config.blind_speed * facing * share, dt)
        error = distance.range - self._desired_range
        motion = _trusted(distance.speed, distance.speed_deviation**2)
        return axis.drive(error, motion, dt, share * facing)

    @property
    def _desired_range(self) -> float:
        return self.config.desired_range or self._first_range

    def _as_command(self, speeds: dict[str, float], verdict: Verdict) -> Command:
        return Command(
            forward=speeds.get('forward', 0.0),
            left=speeds.get('lateral', 0.0),
            up=speeds.get('climb', 0.0),
            yaw_rate=speeds.get('yaw', 0.0),
            pitch_rate=0.0 - speeds.get('pitch', 0.0),
            allowed=verdict.share,
            reason=verdict.reason,
        )

    def _set_time(self, now: float) -> bool:
        """Note the time; one that jumps back starts anew. Returns whether it is one."""
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
        self._stand_still()
        self._ego.clear()
        self._safety.start_anew()
        self._now, self._commanded, self._taken = now, None, -math.inf

    def _forget_target(self) -> None:
        self._forget_course()
        self._plausibility.clear()
        self._size.clear()
        self._target, self._first_range = None, 0.0

    def _forget_course(self) -> None:
        self._bearing.clear()
        self._range.clear()
        self._plausibility.forget()

    def _stand_still(self) -> None:
        for axis in self._axes.values():
            axis.stop()

    def _reverse(self, axis: str) -> float | None:
        return self.config.max_reverse if axis == 'forward' else None


def _trusted(speed: float, variance: float) -> float:
    """Return a speed, less where it may be noise: v^3 / (v^2 + variance / 4).

    A filter that is ready for targets that turn has a rate for those that stand, too.
    """
    return speed**3 / (speed**2 + variance / 4) if abs(speed) > 1e-6 else 0.0
