# SPDX-License-Identifier: Apache-2.0
"""Every gain and limit of target following, with its range; presets for three kinds of platform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from hcat_ros.following.config_fields import ConfigField, check, choice, described, number

PLATFORMS = ('ground', 'drone', 'gimbal')
RANGE_MODES = ('none', 'size', 'relative', 'depth')
AXES = ('yaw', 'pitch', 'forward', 'climb', 'lateral')


@dataclass(frozen=True)
class AxisConfig:
    """One axis of motion. Error e in rad (yaw, pitch) or m; speed in rad/s or m/s."""

    kp: float = number(1.0, 0, 20, 'Speed for each unit of error [1/s].')
    ki: float = number(0.0, 0, 10, 'Speed for each unit of error and second [1/s^2].')
    kd: float = number(0.0, 0, 5, "Damping: speed for each unit of the error's own rate.")
    integral_limit: float = number(0.2, 0, 5, 'Largest speed that the integral may add.')
    feed_forward: float = number(
        0.8, 0, 1.5, "Share of the target's own motion that is followed without waiting for error."
    )
    dead_band: float = number(
        0.0, 0, 5, 'Dead band: smaller errors are ignored, larger ones count from its edge.'
    )
    max_speed: float = number(0.5, 0, 30, 'Largest speed; 0 switches the axis off.')
    max_acceleration: float = number(1.0, 0.01, 100, 'Acceleration limit, per second.')
    max_deceleration: float = number(2.0, 0.01, 100, 'Deceleration limit, per second.')


@dataclass(frozen=True)
class FollowConfig:
    """Settings of the follower. Raises ValueError, naming field, value and range.

    Start from `ground()`, `drone()` or `gimbal()` and take `changed({'yaw.kp': 2.0})`.
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
        'Largest speed backwards [m/s]; 0 as well where forward.max_speed is 0.',
    )
    derivative_smoothing: float = number(
        0.1, 0, 5, 'Time constant of the low pass on derivatives [s].'
    )

    desired_azimuth: float = number(
        0.0, -1.5, 1.5, 'Where the target is to be seen, angle to the left [rad].'
    )
    desired_elevation: float = number(
        0.0,
        -1.5,
        1.5,
        'Where the target is to be seen, angle up [rad]; a drone climbs or sinks to have it there.',
    )
    desired_range: float = number(
        0.0, 0, 1000, 'Distance to keep [m]; 0: the one at the start (none without a range).'
    )
    range_mode: str = choice(
        'none',
        RANGE_MODES,
        'Where the range comes from. none: unknown, no driving forward; size: from target_height '
        'or target_width; relative: from reference_range and the size at the start; depth: from '
        'depth images, and where they have none, from target_height or target_width if known, '
        'else from the size that the target had while there was depth.',
    )
    target_height: float = number(0.0, 0, 100, 'Height of the target [m], 0 unknown.')
    target_width: float = number(0.0, 0, 100, 'Width of the target [m], 0 unknown.')
    reference_range: float = number(
        0.0, 0, 1000, 'Range of the target at the start [m], for range_mode relative.'
    )
    blind_speed: float = number(
        0.0, 0, 5, 'Speed forward while the range is unknown [m/s]; 0: stay.'
    )
    turn_slow: float = number(
        0.2, 0, 3.2, 'Azimuth error from which driving forward becomes slower [rad].'
    )
    turn_stop: float = number(
        0.6, 0, 3.2, 'Azimuth error from which there is no driving forward [rad].'
    )

    compensate_latency: bool = field(
        default=True,
        metadata={
            'description': 'Steer by where the target is now, not where the last image showed it.'
        },
    )
    actuation_delay: float = number(
        0.1, 0, 1, 'Time from a command to the start of its effect [s].'
    )
    actuation_lag: float = number(
        0.0, 0, 2, 'Time constant with which the platform takes a commanded speed [s].'
    )
    centre_noise: float = number(
        0.05, 0.001, 1, 'Deviation of a measured centre, as a share of the side of the box.'
    )
    bearing_process_noise: float = number(
        0.5, 0.001, 20, "By how much the target's bearing rate may change in a second [rad/s]."
    )
    range_noise: float = number(0.1, 0.001, 1, 'Deviation of a measured range, as a share of it.')
    range_process_noise: float = number(
        0.5, 0.001, 50, "By how much the target's speed may change in a second [m/s]."
    )

    stale_timeout: float = number(
        0.5, 0.05, 5, 'Time after the last good track at which the speed is zero [s].'
    )
    lost_timeout: float = number(
        0.0,
        0,
        60,
        'Time for which a target called lost is turned after along the course that it had, from '
        'the last track that lay on it; 0: turning fades by stale_timeout [s].',
    )
    max_latency: float = number(
        1.0, 0.05, 5, 'Age of the image of a track from which on the speed is zero [s].'
    )
    score_low: float = number(0.3, 0, 1, 'Score up to which the speed is zero.')
    score_high: float = number(0.6, 0, 1, 'Score from which the speed is full.')
    gate: float = number(
        4.0, 1, 50, 'Deviations that a measurement may lie away from the expected bearing.'
    )
    size_jump: float = number(
        1.6, 1.05, 100, 'Factor by which the size may change from one track to the next.'
    )
    confirmations: int = number(
        3, 1, 1000, 'Tracks in a row that must agree with each other before anything moves.'
    )
    rejections: int = number(
        5, 1, 1000, 'Implausible tracks in a row, that agree with each other, to start anew from.'
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
        """Return this configuration with other values of some dotted names.

        Raises ValueError for a name that is none and for a value out of its range.
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
        """Return values for an indoor robot of about 0.5 m/s. Range is off until it is told how."""
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

        It keeps the target a little below, so that it is not led down to the ground.
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
            # Turning moves nothing into anybody's way, and a target in flight is gone in no time.
            lost_timeout=5.0,
        )


def _walk() -> Iterator[tuple[str, Field[Any] | None]]:
    """Yield (name of a field, field of the axis that it is or None) for all that can be set."""
    for own in fields(FollowConfig):
        if own.name in AXES:
            yield from ((own.name, inner) for inner in fields(AxisConfig))
        else:
            yield own.name, None


_OWN = {own.name: own for own in fields(FollowConfig)}

CONFIG_FIELDS: tuple[ConfigField, ...] = tuple(
    described(f'{name}.{inner.name}', inner, f'{name.capitalize()}: ')
    if inner
    else described(name, _OWN[name])
    for name, inner in _walk()
)
"""All that can be set, for parameters of a node and for documentation."""
