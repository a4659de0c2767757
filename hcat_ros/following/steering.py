# SPDX-License-Identifier: Apache-2.0
"""Computes the speeds of a platform's axes from the target's bearing and range."""

from __future__ import annotations

import math
from typing import NamedTuple

from hcat_ros.following.axis import Axis
from hcat_ros.following.command import Command
from hcat_ros.following.config import AXES, AxisConfig, FollowConfig
from hcat_ros.following.range_filter import Range
from hcat_ros.following.safety import Verdict


class Seen(NamedTuple):
    """The target relative to its desired bearing and range."""

    azimuth: float
    """Error of the azimuth, positive to the left, rad."""
    elevation: float
    """Error of the elevation, positive upwards, rad."""
    azimuth_rate: float
    """The target's own azimuth rate, without the platform's motion, rad/s."""
    elevation_rate: float
    distance: Range | None
    """Range of the target, None if unknown."""
    desired_range: float
    """Range to keep, m; 0 if there is none."""


class Steering:
    """The axes of a platform, each a controller with limits."""

    def __init__(self, config: FollowConfig) -> None:
        self._axes = {name: Axis(*_of_axis(config, name)) for name in AXES}

    def configure(self, config: FollowConfig) -> None:
        """Change gains and limits while moving."""
        for name, axis in self._axes.items():
            axis.configure(*_of_axis(config, name))

    def stop(self) -> None:
        """Set all speeds to zero at once and reset the controllers."""
        for axis in self._axes.values():
            axis.stop()

    def brake(self, dt: float, verdict: Verdict) -> Command:
        """Return the command after `dt` s on the way to standstill."""
        return _command(
            {name: axis.approach(0.0, dt) for name, axis in self._axes.items()}, verdict
        )

    def drive(self, config: FollowConfig, seen: Seen, dt: float, verdict: Verdict) -> Command:
        """Return the command after `dt` s towards the target's desired bearing and range."""
        axes, share = self._axes, verdict.share
        speeds = {'yaw': axes['yaw'].drive(seen.azimuth, seen.azimuth_rate, dt, share)}
        if config.platform == 'gimbal':
            speeds['pitch'] = axes['pitch'].drive(seen.elevation, seen.elevation_rate, dt, share)
            return _command(speeds, verdict)
        if verdict.turning_only:
            others = ('forward', 'climb', 'lateral')
            speeds |= {name: axes[name].approach(0.0, dt) for name in others}
            return _command(speeds, verdict)
        speeds['forward'] = self._forward(config, seen, dt, share)
        if config.platform == 'drone':
            # An angle times the range is an offset in metres. An unknown range is assumed to be the
            # desired one; the target's motion then cannot be told from the platform's.
            known = seen.distance is not None
            metres = seen.distance.range if seen.distance else seen.desired_range or 1.0
            for name, angle, rate in (
                ('climb', seen.elevation, seen.elevation_rate),
                ('lateral', seen.azimuth, seen.azimuth_rate),
            ):
                motion = metres * rate if known else 0.0
                speeds[name] = axes[name].drive(metres * math.sin(angle), motion, dt, share)
        return _command(speeds, verdict)

    def _forward(self, config: FollowConfig, seen: Seen, dt: float, share: float) -> float:
        """Return the speed forward: 0 while turned away, blind_speed while the range is unknown."""
        axis = self._axes['forward']
        facing = (config.turn_stop - abs(seen.azimuth)) / (config.turn_stop - config.turn_slow)
        facing = min(max(facing, 0.0), 1.0)
        if facing == 0:
            return axis.approach(0.0, dt)
        if seen.distance is None:
            return axis.approach(config.blind_speed * facing * share, dt)
        error = seen.distance.range - seen.desired_range
        motion = trusted(seen.distance.speed, seen.distance.speed_deviation**2)
        return axis.drive(error, motion, dt, share * facing)


def trusted(speed: float, variance: float) -> float:
    """Return a speed, reduced if it may be noise: v^3 / (v^2 + variance / 4).

    A filter that can follow sudden turns also estimates a small rate for a target at rest.
    """
    return speed**3 / (speed**2 + variance / 4) if abs(speed) > 1e-6 else 0.0


def _of_axis(config: FollowConfig, name: str) -> tuple[AxisConfig, float, float | None]:
    reverse = config.max_reverse if name == 'forward' else None
    return getattr(config, name), config.derivative_smoothing, reverse


def _command(speeds: dict[str, float], verdict: Verdict) -> Command:
    return Command(
        forward=speeds.get('forward', 0.0),
        left=speeds.get('lateral', 0.0),
        up=speeds.get('climb', 0.0),
        yaw_rate=speeds.get('yaw', 0.0),
        pitch_rate=0.0 - speeds.get('pitch', 0.0),
        allowed=verdict.share,
        reason=verdict.reason,
    )
