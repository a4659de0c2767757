# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import pytest

from hcat_ros.following import CONFIG_FIELDS, FollowConfig
from hcat_ros.following.config import AXES

PRESETS = {
    'ground': FollowConfig.ground,
    'drone': FollowConfig.drone,
    'gimbal': FollowConfig.gimbal,
}
NUMBERS = [own for own in CONFIG_FIELDS if own.type in (int, float)]


@pytest.mark.parametrize('platform', PRESETS)
def test_presets_match_their_platform_and_do_not_drive_by_default(platform: str) -> None:
    config = PRESETS[platform]()
    assert config.platform == platform
    assert config.range_mode == 'none'
    assert config.blind_speed == 0
    assert config.changed(config.values()) == config
    for axis in AXES:
        own = getattr(config, axis)
        assert own.max_deceleration >= own.max_acceleration, 'stops at least as fast as it starts'


def test_every_field_is_described() -> None:
    assert [own.name for own in CONFIG_FIELDS] == list(FollowConfig.ground().values())
    assert len({own.name for own in CONFIG_FIELDS}) == len(CONFIG_FIELDS)
    for own in CONFIG_FIELDS:
        assert own.description.endswith(('.', ']')), own
        if own.type in (int, float):
            assert own.low is not None
            assert own.high is not None
            assert own.low < own.high


@pytest.mark.parametrize('own', NUMBERS, ids=lambda own: own.name)
def test_numbers_outside_their_range_are_refused(own: Any) -> None:
    for value in (own.low - 0.01, own.high + 1, math.nan, math.inf, '1', None, True):
        with pytest.raises(ValueError, match='expected') as refused:
            FollowConfig.ground().changed({own.name: value})
        assert str(refused.value).startswith(f'{own.name} {value!r}: expected')
        assert f'{own.low:g} to {own.high:g}' in str(refused.value)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'platform': 'boat'}, "platform 'boat': expected one of ground, drone, gimbal"),
        ({'compensate_latency': 1}, 'compensate_latency 1: expected true or false'),
        ({'rejections': 2.5}, 'rejections 2.5: expected a whole number from 1 to 1000'),
        ({'range_mode': 'size'}, 'expected target_height or target_width above 0'),
        ({'range_mode': 'relative'}, 'expected reference_range above 0'),
        ({'score_low': 0.7}, 'score_low 0.7: expected below score_high 0.6'),
        ({'turn_stop': 0.1}, 'turn_slow 0.2: expected below turn_stop 0.1'),
        ({'yaw.kq': 1.0}, 'yaw.kq: no setting of target following has this name'),
        ({'yaw': 1.0}, 'yaw: no setting'),
    ],
)
def test_invalid_values_are_refused_with_the_reason(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FollowConfig.ground().changed(values)


def test_changing_some_settings_leaves_the_others_unchanged() -> None:
    config = FollowConfig.drone().changed({'yaw.kp': 1, 'yaw.ki': 0.3, 'gate': 3.0})
    assert (config.yaw.kp, config.yaw.ki, config.gate) == (1, 0.3, 3.0)
    assert config.yaw.max_speed == FollowConfig.drone().yaw.max_speed
    assert config.forward == FollowConfig.drone().forward
