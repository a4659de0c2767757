# SPDX-License-Identifier: Apache-2.0
"""Each way in which tracks can go wrong, through the whole follower, and what moves then."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yaw_loop import seen

from hcat_ros.following import BearingMeasurement, Command, FollowConfig, Follower
from hcat_ros.following.follower import TIME_JITTER

CONFIG = FollowConfig.ground().changed(
    {'range_mode': 'size', 'target_height': 0.5, 'desired_range': 1.0}
)
TICK = 0.02
LATENCY = 0.06


def anywhere(stamp: float) -> float:
    """A number from -1 to 1."""
    return float(np.random.default_rng(round(stamp * 1e6)).uniform(-1, 1))


def chasing(config: FollowConfig = CONFIG, until: float = 3.0) -> tuple[Follower, float]:
    """A follower at full speed behind a target to the left, and the time."""
    follower = Follower(config)
    follower.activate(0.0)
    now = 0.0
    while now < until:
        now += TICK
        if now > LATENCY + 0.001:
            assert follower.track(seen(now - LATENCY, 0.15), now) == ''
        command = follower.command(now)
    assert command.yaw_rate > 0.1
    assert command.forward > 0.2
    assert command.allowed == 1
    assert command.reason == ''
    return follower, now


def test_nothing_moves_before_activation_and_a_fresh_track() -> None:
    follower = Follower(CONFIG)
    assert follower.track(seen(0.0), 0.1) == 'not active'
    assert follower.command(0.1) == Command(reason='not active')
    follower.activate(1.0)
    assert follower.command(1.0) == Command(reason='waiting for a track')
    old = follower.track(seen(0.95, 0.3), 1.05)
    assert old == 'image from before the activation'
    assert follower.command(1.05).is_zero
    assert 'before the activation' in follower.command(1.06).reason
    for missing in (2, 1):
        now = 1.14 - missing * TICK
        assert follower.track(seen(now - LATENCY, 0.3), now) == ''
        assert follower.command(now).is_zero
        assert f'waiting for a track ({missing} more ha' in follower.command(now).reason
    assert follower.track(seen(1.14 - LATENCY, 0.3), 1.14) == ''
    assert follower.command(1.14).allowed == 1
    assert follower.command(1.16).yaw_rate > 0
    follower.deactivate()
    assert follower.command(1.18) == Command(reason='not active')


@pytest.mark.parametrize(
    ('what', 'reason'),
    [
        (lambda stamp: None, 'target lost'),
        (lambda stamp: seen(stamp, math.nan), 'no good track'),
        (lambda stamp: seen(stamp, 0.15, math.inf), 'not finite'),
        (lambda stamp: seen(stamp, 0.15, size=math.nan), 'not finite'),
        (lambda stamp: seen(stamp, 0.15, score=math.nan), 'not finite'),
        (lambda stamp: seen(math.nan, 0.15), 'not finite'),
        (lambda stamp: seen(stamp, 0.15, score=37.0), 'score 37 is not from 0 to 1'),
        (lambda stamp: seen(stamp, 0.6 * anywhere(stamp)), 'deviations'),
        (lambda stamp: seen(stamp, 0.15, size=0.1 * 10 ** anywhere(stamp)), 'factor'),
        (lambda stamp: seen(2.9, 0.15), 'not newer'),
        (lambda stamp: seen(stamp - 1.2, 0.15), 'image 1.2'),
        (lambda stamp: seen(stamp + 3, 0.15), 'in the future: are the clocks synchronised'),
        (lambda stamp: seen(stamp, 0.15, score=0.1), 'score 0.10'),
        ('silence', 'no good track for 0.5'),
    ],
)
def test_zero_within_the_timeout(
    what: Callable[[float], BearingMeasurement | None] | str, reason: str
) -> None:
    follower, begin = chasing()
    now, zero_after, command = begin, math.inf, Command()
    reasons = ''
    while now < begin + 1.0:
        now += TICK
        if callable(what):
            follower.track(what(now - LATENCY), now)
        before, command = command, follower.command(now)
        reasons += command.reason
        if command.is_zero and not before.is_zero:
            zero_after = now - begin
        assert command.is_zero or now - begin < zero_after, 'once zero it stays'
    assert zero_after <= CONFIG.stale_timeout + 1e-9
    assert command.allowed == 0
    assert reason in reasons


def test_a_lost_target_is_braked_for_and_silence_fades_out() -> None:
    for lost in (True, False):
        follower, now = chasing()
        speeds = [follower.command(now).forward]
        for _ in range(40):
            now += TICK
            if lost:
                follower.track(None, now)
            speeds.append(follower.command(now).forward)
        steps = -np.diff(speeds)
        assert steps.max() <= CONFIG.forward.max_deceleration * TICK + 1e-9 or not lost
        assert (speeds[10] < 0.6 * speeds[0]) == lost, 'one missing image is no loss'


@pytest.mark.parametrize(('age', 'share'), [(0.1, 1.0), (0.24, 1.0), (0.375, 0.5), (0.45, 0.2)])
def test_what_is_allowed_fades_from_half_of_the_timeout_on(age: float, share: float) -> None:
    follower, now = chasing()
    command = follower.command(now + age)
    assert command.allowed == pytest.approx(share)
    assert (f'no good track for {age:.2f} s' in command.reason) == (share < 1)


def test_hold_is_at_once_and_leaving_it_by_the_limits() -> None:
    follower, now = chasing()
    follower.hold(True)
    assert follower.command(now + TICK) == Command(reason='on hold')
    follower.track(seen(now, 0.15), now + TICK)
    follower.hold(False)
    command = follower.command(now + 2 * TICK)
    assert 0 < command.forward <= CONFIG.forward.max_acceleration * TICK + 1e-9
    follower.hold(True)
    follower.activate(now + 1)
    follower.track(seen(now + 1.01), now + 1.02)
    assert follower.command(now + 1.02).reason == 'on hold', 'an activation does not release it'


def test_the_score_scales_the_speed() -> None:
    speeds = {}
    for score in (0.3, 0.45, 0.6, 1.0):
        follower, now = chasing()
        for _ in range(60):
            now += TICK
            follower.track(seen(now - LATENCY, 0.15, score=score), now)
            command = follower.command(now)
        speeds[score] = command.forward
        assert command.allowed == pytest.approx(min(max((score - 0.3) / 0.3, 0), 1))
    assert speeds[0.3] == 0
    assert speeds[0.45] == pytest.approx(speeds[1.0] / 2, rel=0.05)
    assert speeds[0.6] == pytest.approx(speeds[1.0])


def test_a_jump_is_refused_until_it_is_confirmed() -> None:
    follower, now = chasing()
    for index in range(CONFIG.rejections):
        now += TICK
        reason = follower.track(seen(now - LATENCY, -0.5), now)
        assert ('jump' in reason) == (index < CONFIG.rejections - 1)
        bearing = follower.bearing(now - LATENCY)
        assert bearing is not None
        assert (bearing.azimuth < -0.45) == (index == CONFIG.rejections - 1)


def test_another_target_is_no_jump_but_braked_for_until_confirmed() -> None:
    follower, now = chasing()
    before = follower.command(now).forward
    for missing in (2, 1, 0):
        now += TICK
        assert follower.track(seen(now - LATENCY, -0.5, size=0.5, target='b'), now) == ''
        bearing = follower.bearing(now - LATENCY)
        assert bearing is not None
        assert bearing.azimuth == pytest.approx(-0.5, abs=0.02)
        command = follower.command(now)
        assert command.reason.startswith('another target') == (missing > 0)
        assert 0 < command.forward < before
        before = command.forward
    assert command.allowed == 1


def test_frozen_images_confirm_nothing() -> None:
    follower = Follower(CONFIG)
    follower.activate(0.0)
    for tick in range(1, 20):
        follower.track(seen(0.01, 0.2), tick * TICK)
        assert follower.command(tick * TICK).is_zero


def test_a_target_found_after_a_loss_starts_anew_at_rest() -> None:
    follower, now = chasing()
    now += 0.8
    follower.track(None, now)
    assert follower.command(now) == Command(reason='target lost')
    for _ in range(CONFIG.confirmations):
        assert follower.command(now).is_zero
        now += TICK
        assert follower.track(seen(now - LATENCY, -0.5), now) == ''
    command = follower.command(now)
    assert abs(command.yaw_rate) <= CONFIG.yaw.max_acceleration * TICK + 1e-9
    assert command.yaw_rate < 0


def test_time_that_jumps_back_starts_anew() -> None:
    follower, _ = chasing()
    assert follower.command(0.5) == Command(reason='waiting for a track')
    assert follower.bearing(0.5) is None
    assert follower.track(seen(0.4, 0.15), 0.52) == 'image from before the activation'
    for tick in range(3):
        assert follower.track(seen(0.53 + tick * TICK, 0.15), 0.6 + tick * TICK) == ''
    assert follower.command(0.66).allowed == 1
    assert follower.command(0.68).yaw_rate > 0


def test_time_that_is_none_stops() -> None:
    follower, now = chasing()
    for time in (math.nan, math.inf):
        assert follower.track(seen(now, 0.15), time) == 'time is not a number'
        assert follower.command(time) == Command(reason='time is not a number')
    follower.activate(math.nan)
    assert follower.command(now) == Command(reason='not active')


def test_a_slow_tracker_is_bounded_by_the_age_of_its_images() -> None:
    config = CONFIG.changed({'stale_timeout': 2.0, 'max_latency': 0.3})
    follower, now = chasing(config)
    command = follower.command(now + 0.26)
    assert command.is_zero
    assert command.reason == 'image 0.32 s old'


floats = st.floats(allow_nan=True, allow_infinity=True)
angles = st.one_of(floats, st.floats(-0.6, 0.6))
sizes = st.one_of(floats, st.floats(0.02, 1.0))
measurements = st.builds(
    BearingMeasurement,
    st.one_of(floats, st.floats(-0.3, 0.01)),  # against now, see below
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
EVENTS = st.one_of(
    measurements,
    measurements,
    st.none(),
    st.just('command'),
    st.just('command'),
    st.sampled_from(['activate', 'deactivate', 'hold', 'release', 'turned', 'configure', 'repeat']),
)


@given(
    st.sampled_from([FollowConfig.ground, FollowConfig.drone, FollowConfig.gimbal]),
    st.sampled_from(['none', 'size', 'relative']),
    st.booleans(),
    st.lists(
        st.tuples(EVENTS, st.one_of(st.floats(0, 0.1), st.floats(0, 0.1), floats)), max_size=60
    ),
)
@settings(max_examples=300, deadline=None)
def test_whatever_comes_in_commands_are_finite_within_limits_and_zero_when_not_allowed(
    preset: Callable[[], FollowConfig],
    range_mode: str,
    lateral: bool,
    events: list[tuple[BearingMeasurement | str | None, float]],
) -> None:
    config = preset().changed(
        {'range_mode': range_mode, 'target_height': 0.5, 'reference_range': 3.0}
    )
    if lateral:
        config = config.changed({'lateral.kp': 1.0, 'lateral.max_speed': 1.0})
    follower = Follower(config)
    follower.activate(0.0)
    active, holding, good, now = True, False, -math.inf, 0.0
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
            follower.turned(time, dt, -dt)
        elif event == 'configure':
            config = config.changed({'yaw.max_speed': 0.4, 'yaw.kp': 20, 'actuation_lag': 0.0})
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
        if not active or holding or not 0 <= now - good < config.stale_timeout:
            assert command.is_zero, command
            assert command.allowed == 0
        if config.platform == 'gimbal':
            assert command.forward == command.left == command.up == 0
        if config.platform == 'ground':
            assert command.left == command.up == command.pitch_rate == 0
