# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import pytest

from hcat_ros.simulation import PLATFORMS, Scenario


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'path': 'spiral'}, "path 'spiral': expected one of straight"),
        ({'platform': 'boat'}, "platform 'boat': expected one of ground, drone, gimbal"),
        ({'surroundings': 'sea'}, "surroundings 'sea': expected one of auto"),
        ({'speed': -0.1}, 'speed -0.1: expected 0 to 3'),
        ({'speed': math.nan}, 'speed nan'),
        ({'horizontal_fov': 3.1}, 'horizontal_fov 3.1: expected 0.1745 to 2.618'),
        ({'width': 10}, 'width 10: expected 64 to 4096'),
        ({'fps': 0.0}, 'fps 0.0'),
        ({'start_range': 0.1}, 'start_range 0.1: expected 1 to 200 m'),
        ({'target_altitude': -1.0}, 'target_altitude -1.0: expected 0 to 100 m'),
        ({'seed': -1}, 'seed -1: expected 0 or more'),
        ({'hidden_share': 1.5}, 'hidden_share 1.5'),
    ],
)
def test_an_invalid_value_is_refused_with_the_expected_range(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Scenario(**values)


def test_the_target_speed_is_a_share_of_the_platforms_speed() -> None:
    for name in ('ground', 'drone'):
        course = Scenario(platform=name, speed=0.5).course
        assert course.speed == 0.5 * PLATFORMS[name].forward.speed
    gimbal = Scenario(platform='gimbal', speed=0.5, start_range=20.0).course
    assert gimbal.speed == 0.5 * PLATFORMS['gimbal'].yaw.speed * 20.0
    assert gimbal.fixed_camera


def test_the_target_starts_in_front_at_the_requested_distance() -> None:
    assert Scenario(start_range=7.0).course.start == (7.0, 0.0, 0.0)
    assert Scenario(platform='drone', target_altitude=0.0).course.start[2] == 0
    assert Scenario(platform='gimbal').has_ground is False
    assert Scenario(platform='gimbal', surroundings='ground').has_ground is True
