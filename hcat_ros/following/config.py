# SPDX-License-Identifier: Apache-2.0
"""Every gain and limit of target following, with its range; presets for three kinds of platform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from hcat_ros.following.config_fields import ConfigField, check, choice, describe_field, number

PLATFORMS = ('ground', 'drone', 'gimbal')
RANGE_MODES = ('none', 'size', 'relative', 'depth')
AXES = ('yaw', 'pitch', 'forward', 'climb', 'lateral')


@dataclass(frozen=True)
class AxisConfig:
    """One axis of motion. Error e in rad (yaw, pitch) or m; speed in rad/s or m/s."""

    kp: float = number(1.0, 0, 20, 'Proportional gain, speed per unit of error [1/s].')
    ki: float = number(0.0, 0, 10, 'Integral gain, speed per unit of error and second [1/s^2].')
    kd: float = number(
        0.0, 0, 5, "Derivative gain (damping), speed per unit of the error's own rate."
    )
    integral_limit: float = number(0.2, 0, 5, 'Largest speed that the integral may add.')
    feed_forward: float = number(
        0.8, 0, 1.5, "Share of the target's own motion that is fed forward to the speed."
    )
    dead_band: float = number(
        0.0, 0, 5, 'Dead band: smaller errors are ignored, larger ones count from its edge.'
    )
    max_speed: float = number(0.5, 0, 30, 'Largest speed; 0 switches the axis off.')
    max_acceleration: float = number(1.0, 0.01, 100, 'Acceleration limit [rad/s^2 or m/s^2].')
    max_deceleration: float = number(2.0, 0.01, 100, 'Deceleration limit [rad/s^2 or m/s^2].')


@dataclass(frozen=True)
class FollowConfig:
    """Settings of the follower. Raises ValueError with the field, its value and its range.

    Start from a preset and change it: `FollowConfig.ground().changed({'yaw.kp': 2.0})`.
    """

    platform: str = choice(
        'ground',
        PLATFORMS,
        'ground: yaw and forward; drone: yaw, climb, forward, lateral; gimbal: yaw and pitch.',
    )
    yaw: AxisConfig = field(default_factory=AxisConfig)
    pitch: AxisConfig = field(default_factory=AxisConfig)
    forward: AxisConfig = field(default_factory=AxisConfig)
    climb: AxisConfig = field(default_factory=AxisConfig)
    lateral: AxisConfig = field(
        default_factory=lambda: AxisConfig(kp=0.0, feed_forward=0.0, max_speed=0.0)
    )
    max_reverse: float = number(
        0.0,
        0,
        30,
        'Largest speed backwards [m/s]; it is also 0 if forward.max_speed is 0.',
    )
    derivative_smoothing: float = number(
        0.1, 0, 5, 'Time constant of the low-pass filter on derivatives [s].'
    )

    desired_azimuth: float = number(
        0.0, -1.5, 1.5, 'Azimuth at which to keep the target, positive to the left [rad].'
    )
    desired_elevation: float = number(
        0.0,
        -1.5,
        1.5,
        'Elevation at which to keep the target, positive up [rad]; a drone climbs or sinks for it.',
    )
    desired_range: float = number(
        0.0, 0, 1000, 'Distance to keep [m]; 0: the first distance that is known.'
    )
    range_mode: str = choice(
        'none',
        RANGE_MODES,
        'Source of the range. none: the range is unknown, see blind_speed; size: target_height or '
        'target_width; relative: reference_range and the size at the start; depth: depth images, '
        'and while they show no depth, target_height or target_width if known, else the size that '
        'was learned while there was depth.',
    )
    target_height: float = number(0.0, 0, 100, 'Height of the target [m]; 0: unknown.')
    target_width: float = number(0.0, 0, 100, 'Width of the target [m]; 0: unknown.')
    reference_range: float = number(
        0.0, 0, 1000, 'Range of the target at the start [m], for range_mode relative.'
    )
    blind_speed: float = number(
        0.0, 0, 5, 'Speed forward while the range is unknown [m/s]; 0: stand still.'
    )
    turn_slow: float = number(
        0.2, 0, 3.2, 'Azimuth error above which the speed forward is reduced [rad].'
    )
    turn_stop: float = number(
        0.6, 0, 3.2, 'Azimuth error at which the speed forward reaches 0 [rad].'
    )

    compensate_latency: bool = field(
        default=True,
        metadata={'description': 'Steer by the predicted bearing, not by that of the last image.'},
    )
    actuation_delay: float = number(
        0.1, 0, 1, 'Time from a command to the start of its effect [s].'
    )
    actuation_lag: float = number(
        0.0, 0, 2, 'Time constant with which the platform reaches a commanded speed [s].'
    )
    centre_noise: float = number(
        0.05, 0.001, 1, 'Standard deviation of a measured box centre, as a share of the box side.'
    )
    bearing_process_noise: float = number(
        0.5,
        0.001,
        20,
        "Standard deviation of the change of the target's bearing rate in one second [rad/s].",
    )
    range_noise: float = number(
        0.1, 0.001, 1, 'Standard deviation of a measured range, as a share of the range.'
    )
    range_process_noise: float = number(
        0.5,
        0.001,
        50,
        "Standard deviation of the change of the target's speed in one second [m/s].",
    )

    stale_timeout: float = number(
        0.5, 0.05, 5, 'Time without a good track after which the speed is zero [s].'
    )
    lost_timeout: float = number(
        0.0,
        0,
        60,
        'Time for which the camera keeps turning along the course of a lost target [s], counted '
        'from the last track on that course; 0: turning fades out within stale_timeout.',
    )
    max_latency: float = number(
        1.0, 0.05, 5, "Age of a track's image from which the speed is zero [s]."
    )
    score_low: float = number(0.3, 0, 1, 'Score up to which the speed is zero.')
    score_high: float = number(0.6, 0, 1, 'Score from which full speed is allowed.')
    gate: float = number(
        4.0, 1, 50, 'Standard deviations by which a measurement may miss the expected bearing.'
    )
    size_jump: float = number(
        1.6, 1.05, 100, 'Largest factor by which the size may change from one track to the next.'
    )
    confirmations: int = number(
        3, 1, 1000, 'Consecutive tracks that must agree with each other before the platform moves.'
    )
    rejections: int = number(
        5,
        1,
        1000,
        'Consecutive implausible tracks that start a new course if they agree with each other.',
    )

    def __post_init__(self) -> None:
        values = self.values()
        for description in CONFIG_FIELDS:
            check(description, values[description.name])
        for low, high in (('turn_slow', 'turn_stop'), ('score_low', 'score_high')):
            if values[low] >= values[high]:
                raise ValueError(f'{low} {values[low]:g}: expected below {high} {values[high]:g}')
        if self.range_mode == 'size' and not self.target_height and not self.target_width:
            raise ValueError(
                'range_mode size: expected target_height or target_width above 0, got 0'
            )
        if self.range_mode == 'relative' and not self.reference_range:
            raise ValueError('range_mode relative: expected reference_range above 0, got 0')

    def values(self) -> dict[str, Any]:
        """Return all values by dotted name, in the order of `CONFIG_FIELDS`."""
        return {
            f'{name}.{inner.name}' if inner else name: getattr(getattr(self, name), inner.name)
            if inner
            else getattr(self, name)
            for name, inner in _walk()
        }

    def changed(self, values: Mapping[str, Any]) -> FollowConfig:
        """Return a copy with new values by dotted name.

        Raises ValueError for an unknown name or a value out of its range.
        """
        own: dict[str, Any] = {}
        known = {description.name for description in CONFIG_FIELDS}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f'{name}: no setting of target following has this name')
            axis, dot, inner = name.partition('.')
            if dot:
                own[axis] = replace(own.get(axis, getattr(self, axis)), **{inner: value})
            else:
                own[name] = value
        return replace(self, **own)

    @classmethod
    def ground(cls) -> FollowConfig:
        """Return values for an indoor robot of about 0.5 m/s. Set range_mode to drive forward."""
        return cls(
            platform='ground',
            yaw=AxisConfig(
                kp=3.0,
                ki=0.1,
                integral_limit=0.2,
                feed_forward=0.9,
                dead_band=0.01,
                max_speed=1.2,
                max_acceleration=4.0,
                max_deceleration=6.0,
            ),
            forward=AxisConfig(
                kp=1.0,
                ki=0.05,
                integral_limit=0.1,
                feed_forward=1.0,
                dead_band=0.1,
                max_speed=0.5,
                max_acceleration=0.6,
                max_deceleration=1.2,
            ),
            actuation_delay=0.1,
            actuation_lag=0.1,
        )

    @classmethod
    def drone(cls) -> FollowConfig:
        """Return values for a multirotor with velocity control, of about 3 m/s.

        The drone stays a little above the target, so that it is not led down to the ground.
        """
        return cls(
            platform='drone',
            yaw=AxisConfig(
                kp=2.5,
                ki=0.1,
                integral_limit=0.2,
                feed_forward=0.9,
                dead_band=0.01,
                max_speed=1.0,
                max_acceleration=3.0,
                max_deceleration=4.0,
            ),
            forward=AxisConfig(
                kp=1.0,
                ki=0.05,
                integral_limit=0.5,
                feed_forward=1.0,
                dead_band=0.2,
                max_speed=3.0,
                max_acceleration=1.5,
                max_deceleration=2.5,
            ),
            climb=AxisConfig(
                kp=0.6,
                ki=0.02,
                integral_limit=0.2,
                feed_forward=0.5,
                dead_band=0.2,
                max_speed=1.0,
                max_acceleration=1.0,
                max_deceleration=2.0,
            ),
            max_reverse=1.5,
            desired_elevation=-0.2,
            actuation_delay=0.1,
            actuation_lag=0.2,
            range_noise=0.06,
            range_process_noise=3.0,
        )

    @classmethod
    def gimbal(cls) -> FollowConfig:
        """Return values for a pan-tilt head with rate control."""
        axis = AxisConfig(
            kp=4.0,
            ki=0.2,
            integral_limit=0.3,
            feed_forward=0.95,
            dead_band=0.005,
            max_speed=2.0,
            max_acceleration=10.0,
            max_deceleration=15.0,
        )
        return cls(
            platform='gimbal',
            yaw=axis,
            pitch=axis,
            actuation_delay=0.05,
            actuation_lag=0.05,
            bearing_process_noise=2.0,
            # Turning is harmless, and a flying target soon leaves the frame.
            lost_timeout=5.0,
        )


def _walk() -> Iterator[tuple[str, Field[Any] | None]]:
    """Yield each setting: a field's name, and the field of AxisConfig if it is an axis, or None."""
    for own in fields(FollowConfig):
        if own.name in AXES:
            yield from ((own.name, inner) for inner in fields(AxisConfig))
        else:
            yield own.name, None


_OWN = {own.name: own for own in fields(FollowConfig)}

CONFIG_FIELDS: tuple[ConfigField, ...] = tuple(
    describe_field(f'{name}.{inner.name}', inner, f'{name.capitalize()}: ')
    if inner
    else describe_field(name, _OWN[name])
    for name, inner in _walk()
)
"""All settings, for node parameters and documentation."""
