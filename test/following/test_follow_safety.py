# SPDX-License-Identifier: Apache-2.0
"""Every way in which tracks can fail, and what the whole follower commands then."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from yaw_loop import CONFIG, LATENCY, TICK, chasing, seen

from hcat_ros.following import BearingMeasurement, Command, FollowConfig, Follower


def anywhere(stamp: float) -> float:
    """A pseudo-random number from -1 to 1."""
    return float(np.random.default_rng(round(stamp * 1e6)).uniform(-1, 1))


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
        assert f'waiting for a track ({missing} more track' in follower.command(now).reason
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
        (lambda stamp: seen(stamp, 0.6 * anywhere(stamp)), 'degrees from where it was expected'),
        (lambda stamp: seen(stamp, 0.15, size=0.1 * 10 ** anywhere(stamp)), 'times that of'),
        (lambda stamp: seen(2.9, 0.15), 'not newer'),
        (lambda stamp: seen(stamp - 1.2, 0.15), 'image 1.2'),
        (lambda stamp: seen(stamp + 3, 0.15), 'in the future: are the clocks synchronised'),
        (lambda stamp: seen(stamp, 0.15, score=0.1), 'score 0.10'),
        ('silence', 'no good track for 0.5'),
    ],
)
def test_commands_become_zero_within_the_timeout_when_tracks_fail(
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
        assert command.is_zero or now < follower.motion_ends <= now + CONFIG.stale_timeout
    assert zero_after <= CONFIG.stale_timeout + 1e-9
    assert command.allowed == 0
    assert reason in reasons


def test_refused_and_missing_tracks_do_not_move_the_end_of_the_motion() -> None:
    follower, begin = chasing()
    assert follower.motion_ends == pytest.approx(begin + CONFIG.stale_timeout)
    for step in range(1, 11):
        now = begin + step * TICK
        assert follower.track(seen(now - LATENCY, math.nan), now)
        assert follower.motion_ends == pytest.approx(begin + CONFIG.stale_timeout)
    assert not follower.command(follower.motion_ends - TICK).is_zero
    assert follower.command(follower.motion_ends).is_zero
    assert Follower(CONFIG).motion_ends == -math.inf


def test_a_lost_target_brakes_within_limits_and_silence_fades_out() -> None:
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


def test_a_gimbal_keeps_turning_for_a_while_after_a_loss() -> None:
    follower = Follower(FollowConfig.gimbal())
    follower.activate(0.0)
    now = before = 0.0
    for _ in range(100):
        now += TICK
        follower.track(seen(now - LATENCY, 0.05), now)
        before = follower.command(now).yaw_rate
    assert before > 0.1, 'towards a target that stays ahead of it'
    follower.track(None, now)
    rates = {}
    for tick in range(1, 40):
        now += TICK
        follower.track(None, now)
        command = follower.command(now)
        rates[tick] = command.yaw_rate
        assert command.reason.startswith('target lost')
    assert rates[5] > 0.5 * before
    assert rates[20] < rates[5]
    assert rates[26] == rates[39] == 0, 'after stale_timeout'


@pytest.mark.parametrize(('age', 'share'), [(0.1, 1.0), (0.24, 1.0), (0.375, 0.5), (0.45, 0.2)])
def test_the_allowed_speed_fades_from_half_of_the_timeout_on(age: float, share: float) -> None:
    follower, now = chasing()
    command = follower.command(now + age)
    assert command.allowed == pytest.approx(share)
    assert (f'no good track for {age:.2f} s' in command.reason) == (share < 1)


def test_hold_stops_at_once_and_release_accelerates_within_limits() -> None:
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
        assert ('degrees' in reason) == (index < CONFIG.rejections - 1)
        bearing = follower.bearing(now - LATENCY)
        assert bearing is not None
        assert (bearing.azimuth < -0.45) == (index == CONFIG.rejections - 1)


def test_a_new_target_slows_the_follower_until_it_is_confirmed() -> None:
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


def test_frozen_images_do_not_confirm_a_target() -> None:
    follower = Follower(CONFIG)
    follower.activate(0.0)
    for tick in range(1, 20):
        follower.track(seen(0.01, 0.2), tick * TICK)
        assert follower.command(tick * TICK).is_zero


def test_a_target_found_after_a_loss_is_followed_from_standstill() -> None:
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


def test_a_clock_that_jumps_back_resets_the_follower() -> None:
    follower, _ = chasing()
    assert follower.command(0.5) == Command(reason='waiting for a track')
    assert follower.bearing(0.5) is None
    assert follower.track(seen(0.4, 0.15), 0.52) == 'image from before the activation'
    for tick in range(3):
        assert follower.track(seen(0.53 + tick * TICK, 0.15), 0.6 + tick * TICK) == ''
    assert follower.command(0.66).allowed == 1
    assert follower.command(0.68).yaw_rate > 0


def test_a_time_that_is_not_finite_stops_the_follower() -> None:
    follower, now = chasing()
    for time in (math.nan, math.inf):
        assert follower.track(seen(now, 0.15), time) == 'time is not a number'
        assert follower.command(time) == Command(reason='time is not a number')
    follower.activate(math.nan)
    assert follower.command(now) == Command(reason='not active')


def test_images_older_than_max_latency_stop_the_follower() -> None:
    config = CONFIG.changed({'stale_timeout': 2.0, 'max_latency': 0.3})
    follower, now = chasing(config)
    command = follower.command(now + 0.26)
    assert command.is_zero
    assert command.reason == 'image 0.32 s old'
