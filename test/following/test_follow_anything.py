# SPDX-License-Identifier: Apache-2.0
"""Property tests of the follower with arbitrary events in any order."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yaw_loop import seen

from hcat_ros.following import BearingMeasurement, FollowConfig, Follower
from hcat_ros.following.config import CONFIG_FIELDS
from hcat_ros.following.config_fields import ConfigField
from hcat_ros.following.follower import TIME_JITTER

floats = st.floats(allow_nan=True, allow_infinity=True)
angles = st.one_of(floats, st.floats(-0.6, 0.6))
sizes = st.one_of(floats, st.floats(0.02, 1.0))
measurements = st.builds(
    BearingMeasurement,
    st.one_of(floats, st.floats(-0.3, 0.01)),  # relative to now, see below
    angles,
    angles,
    st.one_of(
        st.floats(1e-4, 0.1).map(lambda deviation: np.eye(2) * deviation**2),
        st.lists(floats, min_size=4, max_size=4).map(lambda own: np.array(own).reshape(2, 2)),
    ),
    sizes,
    sizes,
    st.one_of(floats, st.floats(0, 1)),
    st.sampled_from(['a', 'a', 'a', 'b']),
    st.booleans(),
    st.booleans(),
)
changes = st.tuples(
    # Changing the platform requires configuring the node again.
    st.sampled_from([each for each in CONFIG_FIELDS if each.name != 'platform']),
    st.sampled_from([0.0, 0.0, 0.5, 1.0]),
)
"""A parameter that is set live, and its new value as a share of its range."""
EVENTS = st.one_of(
    changes,
    measurements,
    measurements,
    st.none(),
    st.just('command'),
    st.just('command'),
    st.sampled_from(
        ['activate', 'deactivate', 'hold', 'release', 'turned', 'configure', 'repeat', 'lost']
    ),
)


def value_of(field: ConfigField, share: float) -> object:
    """A value from a setting's range: its lowest at share 0, its highest at share 1."""
    if field.type is bool:
        return share > 0
    if field.choices:
        return field.choices[round(share * (len(field.choices) - 1))]
    low, high = field.low or 0.0, field.high or 0.0
    return field.type(low + share * (high - low))


@given(
    st.sampled_from([FollowConfig.ground, FollowConfig.drone, FollowConfig.gimbal]),
    st.sampled_from(['none', 'size', 'relative']),
    st.booleans(),
    st.lists(
        st.tuples(EVENTS, st.one_of(st.floats(0, 0.1), st.floats(0, 0.1), floats)), max_size=60
    ),
)
@settings(max_examples=600, deadline=None)
def test_commands_stay_finite_and_within_limits_and_zero_if_not_allowed(
    preset: Callable[[], FollowConfig],
    range_mode: str,
    lateral: bool,
    events: list[tuple[BearingMeasurement | str | tuple[ConfigField, float] | None, float]],
) -> None:
    config = preset().changed(
        {'range_mode': range_mode, 'target_height': 0.5, 'reference_range': 3.0}
    )
    if lateral:
        config = config.changed({'lateral.kp': 1.0, 'lateral.max_speed': 1.0})
    follower = Follower(config)
    follower.activate(0.0)
    active, holding, now = True, False, 0.0
    good = heard = -math.inf
    last = seen(0.0)
    for event, dt in [(last, 0.05), *events]:
        time = now + dt
        if math.isfinite(time):
            if time < now - TIME_JITTER:
                good = -math.inf
            now = time if time < now - TIME_JITTER else max(now, time)
        if isinstance(event, BearingMeasurement) or event is None or event == 'repeat':
            if event is not None and event != 'repeat':
                last = replace(event, stamp=now + event.stamp)  # type: ignore[union-attr]
            taken = follower.track(None if event is None else last, time)
            if taken == '' and event is not None:
                good = now
        elif event == 'lost':
            follower.track(replace(last, stamp=now - 0.02), time, lost=True)
            heard = now
        elif event == 'activate':
            follower.activate(now)
            active, good = True, -math.inf
        elif event == 'deactivate':
            follower.deactivate()
            active = False
        elif event in ('hold', 'release'):
            holding = event == 'hold'
            follower.hold(holding)
        elif event == 'turned':
            follower.record_turning(now + 0.03, dt, -dt, now=time)
        elif event == 'configure':
            config = config.changed({'yaw.max_speed': 0.4, 'yaw.kp': 20, 'actuation_lag': 0.0})
            follower.configure(config)
        elif isinstance(event, tuple):
            with contextlib.suppress(ValueError):  # values that do not go together
                config = config.changed({event[0].name: value_of(*event)})
                follower.configure(config)
        command = follower.command(time)
        speeds = (
            (command.forward, -config.max_reverse, config.forward.max_speed),
            (command.left, -config.lateral.max_speed, config.lateral.max_speed),
            (command.up, -config.climb.max_speed, config.climb.max_speed),
            (command.yaw_rate, -config.yaw.max_speed, config.yaw.max_speed),
            (command.pitch_rate, -config.pitch.max_speed, config.pitch.max_speed),
        )
        for speed, low, high in speeds:
            assert math.isfinite(speed)
            assert low <= speed <= high
        assert 0 <= command.allowed <= 1
        assert (command.allowed == 1) == (command.reason == '')
        last_word = max(good, heard) if config.lost_timeout else good
        if not active or holding or not 0 <= now - last_word < config.stale_timeout:
            assert command.is_zero, command
            assert command.allowed == 0
        if config.platform == 'gimbal':
            assert command.forward == command.left == command.up == 0
        if config.platform == 'ground':
            assert command.left == command.up == command.pitch_rate == 0


STATES = ('waiting', 'following', 'searching', 'blind', 'on hold')


def in_state(config: FollowConfig, state: str) -> Follower:
    """A follower that is in the given state at 1.02 s."""
    follower = Follower(config)
    follower.activate(0.0)
    for step in range(1, 20 if state != 'waiting' else 1):
        follower.record_turning(0.05 * step, 0.0, now=0.05 * step)
        follower.track(seen(0.05 * step, 0.01 * step), 0.05 * step)
    if state == 'searching':
        follower.track(seen(1.0, 0.2), 1.0, lost=True)
    if state == 'blind':
        follower.record_blindness('no picture', 1.0)
    follower.hold(state == 'on hold')
    assert (follower.command(1.02).allowed > 0) == (state in ('following', 'searching'))
    return follower


@pytest.mark.parametrize('state', STATES)
@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_every_parameter_may_be_set_in_every_state(state: str, share: float) -> None:
    """State from the old value remains: `lost_timeout` 0 once caused a division by zero."""
    for config in (FollowConfig.ground(), FollowConfig.drone(), FollowConfig.gimbal()):
        config = config.changed({'lost_timeout': 5.0})
        for field in CONFIG_FIELDS:
            if field.name == 'platform':
                continue
            try:
                other = config.changed({field.name: value_of(field, share)})
            except ValueError:  # the value conflicts with others
                continue
            follower = in_state(config, state)
            follower.configure(other)
            for step in range(4):
                command = follower.command(1.04 + 0.02 * step)
                assert abs(command.yaw_rate) <= other.yaw.max_speed, field.name
                assert abs(command.forward) <= max(other.forward.max_speed, other.max_reverse)
                if state in ('waiting', 'blind', 'on hold'):
                    assert command.allowed == 0, field.name
            if state == 'searching' and other.lost_timeout == 0:
                assert command.is_zero
