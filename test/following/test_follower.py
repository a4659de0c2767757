# SPDX-License-Identifier: Apache-2.0
"""What the follower commands for each platform, and how it behaves in a closed loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from yaw_loop import chasing, run, seen

from hcat_ros.boxes import Box
from hcat_ros.following import (
    BearingMeasurement,
    CameraModel,
    Command,
    FollowConfig,
    Follower,
    bearing_of,
)

TICK = 0.02


def settled(
    config: FollowConfig, look: Callable[[float], BearingMeasurement], seconds: float = 4.0
) -> tuple[Follower, Command]:
    """The follower and its last command, for a target seen as `look` says; nothing really moves."""
    follower = Follower(config)
    follower.activate(0.0)
    command = Command()
    for tick in range(1, round(seconds / TICK)):
        now = tick * TICK
        follower.record_turning(now, 0.0, now=now)
        follower.track(look(now - 0.01), now)
        command = follower.command(now)
    return follower, command


def plain(config: FollowConfig, **more: float) -> FollowConfig:
    """The configuration without integral, feed-forward and dead band: command = gain x error."""
    own = {'ki': 0.0, 'feed_forward': 0.0, 'dead_band': 0.0}
    axes = ('yaw', 'pitch', 'forward', 'climb', 'lateral')
    gains = {f'{axis}.{gain}': value for axis in axes for gain, value in own.items()}
    # Commands move nothing in these tests, so there is no motion to predict.
    return config.changed({'compensate_latency': False, **gains, **more})


def test_ground_turns_left_to_a_target_on_the_left_and_drives_to_a_far_one() -> None:
    config = plain(FollowConfig.ground(), target_height=0.5, desired_range=4.5).changed(
        {'range_mode': 'size'}
    )
    distance = 0.25 / math.tan(0.05)  # 0.1 rad
    _, command = settled(config.changed({'desired_azimuth': 0.05}), lambda t: seen(t, 0.1))
    assert command.yaw_rate == pytest.approx(config.yaw.kp * 0.05, abs=1e-3)
    assert command.forward == pytest.approx(config.forward.kp * (distance - 4.5), abs=0.05)
    assert (command.left, command.up, command.pitch_rate) == (0, 0, 0)


def test_ground_backs_off_from_a_near_target_only_if_reverse_is_allowed() -> None:
    config = FollowConfig.ground().changed(
        {'range_mode': 'size', 'target_height': 0.5, 'desired_range': 9.0}
    )
    assert settled(config, seen)[1].forward == 0
    backs = config.changed({'max_reverse': 0.2})
    assert settled(backs, seen)[1].forward == pytest.approx(-0.2)


def test_drone_climb_is_proportional_to_the_height_error_in_metres() -> None:
    config = plain(FollowConfig.drone(), target_height=0.5, desired_range=5.0).changed(
        {'range_mode': 'size', 'lateral.kp': 0.5, 'lateral.max_speed': 1.0}
    )
    distance = 0.25 / math.tan(0.05)
    _, command = settled(config, lambda t: seen(t, 0.1, -0.1))
    # The platform does not really move, so compensating its motion causes an error.
    assert command.up == pytest.approx(config.climb.kp * distance * math.sin(0.1), rel=0.25)
    assert command.left == pytest.approx(0.5 * distance * math.sin(0.1), rel=0.25)
    assert command.yaw_rate > 0
    below = settled(config, lambda t: seen(t, 0.0, -0.35))[1]
    assert below.up < -0.1
    unknown = plain(FollowConfig.drone(), desired_range=5.0)
    blind = settled(unknown, lambda t: seen(t, 0.0, -0.1))[1]
    assert blind.up == pytest.approx(unknown.climb.kp * 5.0 * math.sin(0.1), rel=1e-3)
    assert blind.forward == 0


def test_gimbal_looks_up_by_a_negative_rate_about_y() -> None:
    config = plain(FollowConfig.gimbal())
    _, command = settled(config, lambda t: seen(t, -0.1, 0.2))
    assert command.yaw_rate == pytest.approx(-config.yaw.kp * 0.1, rel=0.02)
    assert command.pitch_rate == pytest.approx(-config.pitch.kp * 0.2, rel=0.02)


@pytest.mark.parametrize('azimuth', [0.0, 0.4, 0.9, -0.9])
def test_forward_speed_falls_to_zero_while_turned_away(azimuth: float) -> None:
    config = FollowConfig.ground().changed(
        {
            'range_mode': 'size',
            'target_height': 0.5,
            'desired_range': 1.0,
            'compensate_latency': False,
        }
    )
    speed = settled(config, lambda t: seen(t, azimuth))[1].forward
    facing = min(max((0.6 - abs(azimuth)) / 0.4, 0), 1)
    assert speed == pytest.approx(0.5 * facing, abs=0.02)


def test_an_unknown_range_is_not_driven_to_unless_blind_speed_is_set() -> None:
    assert settled(FollowConfig.ground(), seen)[1].forward == 0
    blind = FollowConfig.ground().changed({'blind_speed': 0.3})
    assert settled(blind, seen)[1].forward == pytest.approx(0.3)
    assert settled(blind, lambda t: seen(t, score=0.45))[1].forward == pytest.approx(0.15)
    cut = FollowConfig.ground().changed(
        {'range_mode': 'size', 'target_height': 0.5, 'desired_range': 1.0}
    )
    always_cut = lambda t: replace(seen(t), height_clipped=True)  # noqa: E731
    follower, command = settled(cut, always_cut)
    assert command.forward == 0, 'a target that is cut off may be nearer than it looks'
    assert follower.target_range(3.9) is None


def test_an_outdated_range_is_used_for_a_short_time_only() -> None:
    config = FollowConfig.ground().changed(
        {'range_mode': 'size', 'target_height': 0.5, 'desired_range': 1.0}
    )
    look = lambda t: replace(seen(t), height_clipped=t > 2)  # noqa: E731
    follower, command = settled(config, look, 2.2)
    assert command.forward == pytest.approx(0.5)
    assert follower.target_range(2.2) is not None
    follower, command = settled(config, look, 12.0)
    assert command.forward == 0
    assert follower.target_range(12.0) is None


def test_without_a_desired_range_the_range_at_the_start_is_kept() -> None:
    config = FollowConfig.ground().changed(
        {'range_mode': 'relative', 'reference_range': 2.0, 'max_reverse': 0.5}
    )
    _, command = settled(config, seen)
    assert command.forward == 0
    for size, sign in ((0.05, 1), (0.2, -1)):
        sizes = lambda t, size=size: seen(t, size=0.1 + (size - 0.1) * min(t / 2, 1))  # noqa: E731
        follower, command = settled(config, sizes)
        assert math.copysign(1, command.forward) == sign
        found = follower.target_range(3.96)
        assert found is not None
        assert found.range == pytest.approx(2 * math.tan(0.05) / math.tan(size / 2), rel=0.1)


@pytest.mark.parametrize(('silence', 'distance'), [(5.0, 4.0), (11.0, 2.0)])
def test_after_a_long_silence_relative_range_restarts_at_the_reference(
    silence: float, distance: float
) -> None:
    """Half the size means twice the distance, or the reference distance after a restart."""
    config = FollowConfig.ground().changed({'range_mode': 'relative', 'reference_range': 2.0})
    follower, _ = settled(config, seen)
    begin = 4.0 + silence
    for number in range(10):
        now = begin + number / 30
        follower.track(seen(now, size=2 * math.atan(math.tan(0.05) / 2)), now)
        follower.command(now)
    found = follower.target_range(now)
    assert found is not None
    assert found.range == pytest.approx(distance, rel=0.1)


def test_a_frozen_camera_stops_the_follower_at_once() -> None:
    follower, now = chasing()
    follower.record_blindness('frozen', now)
    command = follower.command(now + 0.02)
    assert command.is_zero
    assert command.reason.startswith('frozen')
    assert follower.track(seen(now + 0.05, 0.15), now + 0.06) == ''
    assert follower.command(now + 0.08).yaw_rate > 0


def turned(follower: Follower, begin: float, end: float) -> float:
    """The follower's estimate of how far its camera has turned (yaw), rad."""
    rotation = follower.ego_motion.rotation(begin, end)
    return math.atan2(rotation[1, 0], rotation[0, 0])


def test_turning_from_the_future_is_refused_without_blocking_later_values() -> None:
    follower = Follower(FollowConfig.gimbal())
    follower.activate(0.0)
    for tick in range(1, 101):
        now = tick * TICK
        assert follower.record_turning(now + 0.04, 0.3, now=now) == '', 'clocks differ a little'
        if tick == 50:
            reason = follower.record_turning(now + 7.5, 0.0, now=now)
            assert reason == 'it is from 7.50 s in the future: are the clocks synchronised?'
    assert turned(follower, 0.5, 1.9) == pytest.approx(0.3 * 1.4)
    assert 'nan' in follower.record_turning(now, math.nan, now=now)
    assert follower.record_turning(now, 0.3, now=math.nan) == 'time is not a number'


def test_turning_from_before_a_clock_reset_does_not_block_later_values() -> None:
    follower = Follower(FollowConfig.gimbal())
    follower.activate(100.0)
    for tick in range(50):
        assert follower.record_turning(100 + tick * TICK, -0.2, now=100 + tick * TICK) == ''
    assert 'in the future' in follower.record_turning(101.0, -0.2, now=40.0), 'it was queued'
    for tick in range(50):
        assert follower.record_turning(40 + tick * TICK, 0.3, now=40 + tick * TICK) == ''
    assert turned(follower, 40.1, 40.9) == pytest.approx(0.3 * 0.8)


def test_a_still_target_within_the_dead_band_causes_almost_no_turning() -> None:
    rng = np.random.default_rng(0)
    _, command = settled(
        FollowConfig.ground().changed({'yaw.dead_band': 0.03}),
        lambda t: seen(t, 0.01 + rng.normal(0, 0.002), noise=0.002),
    )
    assert abs(command.yaw_rate) < 0.03


def test_configure_keeps_the_target_unless_the_platform_changes() -> None:
    follower, command = settled(plain(FollowConfig.ground()), lambda t: seen(t, 0.2))
    follower.configure(plain(FollowConfig.ground(), **{'yaw.max_speed': 0.1}))
    assert follower.command(4.0).yaw_rate == 0.1 < command.yaw_rate
    follower.configure(FollowConfig.gimbal())
    assert follower.command(4.02) == Command(reason='waiting for a track')
    assert follower.bearing(4.0) is None


def test_a_box_left_of_the_middle_causes_a_left_turn() -> None:
    camera = CameraModel.from_fov(640, 480, 1.2)
    _, command = settled(
        FollowConfig.ground(), lambda t: bearing_of(Box(100, 200, 60, 80), camera, 0.9, t, 'a')
    )
    assert command.yaw_rate > 0.5, 'what is left of the middle is turned to, to the left'


def test_bearing_and_range_expire_some_time_after_the_last_track() -> None:
    follower, _ = settled(FollowConfig.ground(), lambda t: seen(t, 0.2))
    assert follower.bearing(4.5) is not None
    for time in (math.nan, 20.0, 1e300):
        assert follower.bearing(time) is None
        assert follower.target_range(time) is None


# The loop: a platform with a delay of 0.1 s and a lag of 0.1 s, images 150 ms old.
LOOP = {'latency': 0.15, 'delay': 0.1, 'lag': 0.1, 'noise': 0.003}


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def test_a_step_in_bearing_is_followed_without_overshoot() -> None:
    result = run(FollowConfig.ground(), lambda t: 0.5, 6, **LOOP)
    assert result.errors.min() > -0.03
    assert rms(result.errors[result.times > 3]) < 0.03


def test_a_moving_target_stays_in_the_middle() -> None:
    result = run(FollowConfig.ground(), lambda t: 0.5 * t, 8, **LOOP)
    assert rms(result.errors[result.times > 3]) < 0.05
    assert result.rates[-1] == pytest.approx(0.5, abs=0.1)


def test_latency_compensation_keeps_a_brisk_loop_stable() -> None:
    brisk = FollowConfig.ground().changed({'yaw.kp': 5.0})
    late = {**LOOP, 'latency': 0.3}
    swings = run(brisk.changed({'compensate_latency': False}), lambda t: 0.4, 12, **late)
    calm = run(brisk, lambda t: 0.4, 12, **late)
    last = calm.times > 6
    assert rms(swings.errors[last]) > 0.15
    assert np.count_nonzero(np.diff(np.sign(swings.rates[last]))) >= 4, 'to and fro'
    assert rms(calm.errors[last]) < 0.02
    assert calm.errors.min() > -0.04
    sways = lambda t: 0.3 * math.sin(t)  # noqa: E731
    on, off = (
        rms(run(brisk.changed({'compensate_latency': value}), sways, 12, **late).errors)
        for value in (True, False)
    )
    assert on < 0.5 * off


@pytest.mark.parametrize(
    'wrong', [{'actuation_lag': 0.0}, {'actuation_delay': 0.05}, {'actuation_lag': 0.2}]
)
def test_the_loop_stays_stable_with_wrong_actuation_settings(wrong: dict[str, float]) -> None:
    result = run(FollowConfig.ground().changed(wrong), lambda t: 0.5, 10, **LOOP)
    assert rms(result.errors[result.times > 6]) < 0.04
    assert result.errors.min() > -0.2
