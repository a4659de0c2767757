# SPDX-License-Identifier: Apache-2.0
"""The follower's parameters, live and at its start, over real DDS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from follow_talker import (
    LEFT,
    FollowTalker,
)
from lives import CONFIGURE
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

Follow = Callable[..., FollowTalker]


def test_gains_change_live(follow: Follow) -> None:
    talker = follow(yaw__kp=0.5, yaw__ki=0.0, yaw__feed_forward=0.0, yaw__max_speed=20.0)
    talker.start()
    talker.stream(1.0, LEFT)
    slow = talker.last['yaw']
    assert talker.set('yaw.kp', 2).successful, 'a whole number is one'
    talker.stream(1.5, LEFT)
    assert talker.last['yaw'] == pytest.approx(4 * slow, rel=0.2)
    assert talker.set('yaw.max_speed', 0.1).successful
    talker.stream(1.0, LEFT)
    assert talker.last['yaw'] == pytest.approx(0.1)


def test_integer_set_live_is_stored_once_as_a_float(follow: Follow) -> None:
    talker = follow()
    node = talker.follower
    asked: list[list[str]] = []

    def note(parameters: list[Parameter]) -> SetParametersResult:
        asked.append([each.name for each in parameters])
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(note)
    assert talker.set('yaw.max_speed', 1).successful
    value = node.get_parameter('yaw.max_speed').value
    assert (value, type(value)) == (1.0, float)
    assert talker.set('platform', 'drone').successful
    assert asked == [['yaw.max_speed'], ['platform']]


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('yaw.kp', 1000.0, '1000'),
        ('yaw.kp', math.nan, 'nan'),
        ('yaw.kp', 'much', "'much'"),
        ('stale_timeout', 0.0, '0.05'),
        ('range_mode', 'radar', "'radar'"),
        ('range_mode', 'size', 'target_height or target_width above 0'),
        ('turn_slow', 1.0, 'expected below turn_stop 0.6'),
        ('rejections', 2.5, '2.5'),
        ('rate', 1e6, '200'),
        ('horizontal_fov', 0.005, 'horizontal_fov 0.005: expected 0 or a number from 0.01 to 3.1'),
    ],
)
def test_invalid_value_is_refused_with_the_reason(
    follow: Follow, name: str, value: Any, reason: str
) -> None:
    talker = follow()
    talker.start()
    before = talker.follower.get_parameter(name).value
    result = talker.set(name, value)
    assert not result.successful
    assert name in result.reason
    assert reason in result.reason
    assert talker.follower.get_parameter(name).value == before
    talker.spin_for(0.2)
    assert talker.follower.state_label == 'active'


def test_dependent_parameters_are_set_atomically(follow: Follow) -> None:
    talker = follow()
    talker.start()
    both = [Parameter('range_mode', value='size'), Parameter('target_height', value=1.7)]
    assert talker.follower.set_parameters_atomically(both).successful
    mixed = [Parameter('yaw.kp', value=7.0), Parameter('rate', value=1e6)]
    assert not talker.follower.set_parameters_atomically(mixed).successful
    talker.stream(0.3)
    config = talker.follower.follower.config
    assert (config.range_mode, config.target_height) == ('size', 1.7)
    assert config.yaw.kp != 7.0
    assert talker.poses


def test_contradicting_initial_values_can_be_corrected(follow: Follow) -> None:
    talker = follow(turn_slow=1.0, score_low=0.9)
    assert not talker.change(CONFIGURE)
    assert 'turn_slow 1: expected below turn_stop 0.6' in talker.follower.failure
    assert talker.set('turn_slow', 0.2).successful
    assert talker.set('score_low', 0.2).successful
    assert talker.change(CONFIGURE)


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('platform', 'boat', 'ground or drone or gimbal'),
        ('yaw.kp', -1.0, 'yaw.kp'),
        ('horizontal_fov', 0.005, 'horizontal_fov 0.005: expected 0 or a number from 0.01'),
    ],
)
def test_invalid_initial_value_is_reported_and_can_be_corrected(
    follow: Follow, name: str, value: Any, reason: str
) -> None:
    talker = follow(**{name.replace('.', '__'): value})
    assert not talker.change(CONFIGURE)
    assert reason in talker.follower.failure
    assert talker.set(name, 'drone' if name == 'platform' else 1.0).successful
    assert talker.change(CONFIGURE)
