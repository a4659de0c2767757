# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcat_ros.simulation import PLATFORMS, PlatformCommand, PlatformModel, SimulatedAxis
from hcat_ros.simulation.platform import GROUND_CLEARANCE, STOP, TICK, Platform

speeds = st.floats(-20, 20)
commands = st.builds(PlatformCommand, speeds, speeds, speeds, speeds, speeds)


def driven(platform: Platform, command: PlatformCommand, seconds: float) -> Platform:
    """Repeat a command, as a controller does, so that the command timeout does not stop it."""
    for _ in range(round(seconds / 0.05)):
        platform.command(command)
        platform.advance(0.05)
    return platform


@given(st.sampled_from(sorted(PLATFORMS)), st.lists(commands, min_size=1, max_size=15))
def test_no_command_makes_a_platform_exceed_its_limits(
    name: str, given: list[PlatformCommand]
) -> None:
    model = PLATFORMS[name]
    platform = Platform(model)
    for command in given:
        before = platform.velocity
        platform.command(command)
        platform.advance(0.1)
        for axis, old, new in zip(model.axes, before, platform.velocity):
            assert abs(new) <= axis.speed + 1e-9
            # The end stops of a gimbal and the ground may stop it faster.
            if axis not in (model.pitch, model.up):
                assert abs(new - old) <= axis.acceleration * 0.1 + 1e-9
        assert model.lowest_pitch <= platform.pose.pitch <= model.highest_pitch
        assert platform.pose.z >= min(GROUND_CLEARANCE, model.camera_height)


def test_a_lag_reaches_63_percent_in_its_time_constant_and_does_not_overshoot() -> None:
    model = PlatformModel(yaw=SimulatedAxis(1.0, 1000.0, 0.2), command_delay=0.0)
    platform = Platform(model)
    platform.command(PlatformCommand(yaw_rate=0.8))
    platform.advance(0.2)
    assert platform.velocity.yaw_rate == pytest.approx(0.8 * (1 - math.exp(-1)), rel=1e-6)
    assert driven(platform, PlatformCommand(yaw_rate=0.8), 4).velocity.yaw_rate <= 0.8


def test_a_command_takes_effect_after_its_delay() -> None:
    platform = Platform(PlatformModel(forward=SimulatedAxis(2.0, 4.0), command_delay=0.1))
    platform.command(PlatformCommand(forward=1.0))
    platform.advance(0.1)
    assert platform.velocity == STOP
    platform.advance(TICK)
    assert platform.velocity.forward > 0


def test_delayed_commands_take_effect_in_their_order() -> None:
    platform = Platform(PlatformModel(yaw=SimulatedAxis(1.0, 100.0, 0.001), command_delay=0.2))
    platform.command(PlatformCommand(yaw_rate=0.5))
    platform.advance(0.1)
    platform.command(PlatformCommand(yaw_rate=-0.5))
    platform.advance(0.15)
    assert platform.velocity.yaw_rate == pytest.approx(0.5)
    platform.advance(0.1)
    assert platform.velocity.yaw_rate == pytest.approx(-0.5)


def test_a_stale_command_stops_the_platform() -> None:
    platform = Platform(PLATFORMS['ground'])
    platform.command(PlatformCommand(forward=1.0))
    platform.advance(0.5)
    assert platform.velocity.forward > 0.8
    platform.advance(2.0)
    assert abs(platform.velocity.forward) < 1e-3
    assert 0.3 < platform.pose.x < 1.0


def test_a_platform_stands_still_before_the_first_command() -> None:
    platform = Platform(PLATFORMS['drone'])
    before = platform.pose
    platform.advance(3.0)
    assert platform.pose == before


def test_a_ground_robot_drives_along_its_heading_on_a_circle() -> None:
    platform = driven(Platform(PLATFORMS['ground']), PlatformCommand(forward=1.0, yaw_rate=0.5), 3)
    radius, start = 1.0 / 0.5, platform.pose
    centre = (start.x - radius * math.sin(start.yaw), start.y + radius * math.cos(start.yaw))
    pose = driven(platform, PlatformCommand(forward=1.0, left=1.0, up=1.0, yaw_rate=0.5), 4).pose
    assert math.hypot(pose.x - centre[0], pose.y - centre[1]) == pytest.approx(radius, rel=1e-3)
    turned = math.remainder(pose.yaw - start.yaw, 2 * math.pi)
    assert turned == pytest.approx(0.5 * 4, abs=1e-3)
    assert pose.z == start.z


def test_a_drone_flies_to_its_own_left_and_up_but_not_into_the_ground() -> None:
    platform = driven(Platform(PLATFORMS['drone']), PlatformCommand(yaw_rate=1.0), 1.5)
    platform = driven(platform, STOP, 2)
    start = platform.pose
    pose = driven(platform, PlatformCommand(left=1.0, up=0.5), 3).pose
    along = (pose.x - start.x) * math.cos(start.yaw) + (pose.y - start.y) * math.sin(start.yaw)
    left = (pose.y - start.y) * math.cos(start.yaw) - (pose.x - start.x) * math.sin(start.yaw)
    assert along == pytest.approx(0, abs=1e-4)
    assert 2 < left < 3
    assert pose.z > start.z + 1
    assert driven(platform, PlatformCommand(up=-2.0), 10).pose.z == GROUND_CLEARANCE


def test_a_gimbal_stops_at_its_end_stop_and_comes_back() -> None:
    platform = driven(
        Platform(PLATFORMS['gimbal']), PlatformCommand(forward=1.0, pitch_rate=1.5), 3
    )
    assert platform.pose.pitch == PLATFORMS['gimbal'].highest_pitch
    assert (platform.pose.x, platform.pose.y) == (0, 0)
    assert driven(platform, PlatformCommand(pitch_rate=-1.0), 0.3).pose.pitch < math.radians(55)


def test_pose_before_gives_the_earlier_pose() -> None:
    platform = driven(Platform(PLATFORMS['ground']), PlatformCommand(forward=1.0, yaw_rate=0.5), 3)
    before = platform.pose
    platform.advance(0.05)
    assert platform.pose_before(0.05) == pytest.approx(before, abs=1e-4)


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_a_command_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match='is not finite'):
        Platform(PLATFORMS['ground']).command(PlatformCommand(yaw_rate=bad))
