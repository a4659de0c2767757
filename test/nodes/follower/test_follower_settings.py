# SPDX-License-Identifier: Apache-2.0
"""The follower's parameters, and the preset files that list them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy

from hcat_ros.following import CONFIG_FIELDS, FollowConfig
from hcat_ros.following.config import PLATFORMS
from hcat_ros.nodes.follower.node import FollowerNode
from hcat_ros.nodes.follower.parameters import FollowParameters
from hcat_ros.nodes.follower.settings import (
    NODE_SETTINGS,
    camera_of_fov,
    config_of,
    preset,
    preset_file,
    settings_for,
)
from hcat_ros.tracking.stream import CameraView


def flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return nested parameters by dotted name, as ROS reads them."""
    found = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f'{prefix}{name}.')
        else:
            found[prefix + name] = value
    return found


@pytest.mark.parametrize('platform', PLATFORMS)
def test_preset_file_matches_the_preset_and_lists_every_parameter(
    checkout: Path, platform: str
) -> None:
    text = (checkout / 'config' / f'follow_{platform}.yaml').read_text()
    values = flat(yaml.safe_load(text)['/**']['ros__parameters'])
    assert config_of(values) == getattr(FollowConfig, platform)()
    names = {field.name for field in CONFIG_FIELDS} | {s.name for s in NODE_SETTINGS}
    assert set(values) == names
    module = 'python -m hcat_ros.nodes.follower.settings'
    assert text == preset_file(platform), f'{module} {platform} > config/follow_{platform}.yaml'


@pytest.mark.parametrize('platform', PLATFORMS)
def test_the_preset_file_configures_the_node(ros: None, checkout: Path, platform: str) -> None:
    file = checkout / 'config' / f'follow_{platform}.yaml'
    node = FollowerNode(cli_args=['--ros-args', '--params-file', str(file)])
    node.start()
    assert node.state_label == 'active', node.failure
    assert node.follower.config == getattr(FollowConfig, platform)()
    node.destroy_node()


@pytest.mark.parametrize('platform', PLATFORMS)
def test_platform_parameter_alone_selects_its_preset(ros: None, platform: str) -> None:
    words = ['--ros-args', '-p', f'platform:={platform}', '-p', 'yaw.kp:=0.25']
    node = rclpy.create_node('follower', cli_args=words)
    chosen = FollowParameters(node)
    assert chosen.config() == preset(platform).changed({'yaw.kp': 0.25})
    node.destroy_node()


def test_every_parameter_has_a_description_and_a_range(ros: None) -> None:
    node = rclpy.create_node('follower')
    FollowParameters(node)
    for setting in settings_for('ground'):
        descriptor = node.describe_parameter(setting.name)
        assert descriptor.description == setting.description
        if setting.kind in (int, float):
            ranges = [*descriptor.floating_point_range, *descriptor.integer_range]
            assert [(r.from_value, r.to_value) for r in ranges] == [(setting.low, setting.high)]
            assert setting.low <= setting.default <= setting.high
        elif setting.choices:
            assert setting.choices[-1] in descriptor.additional_constraints
    node.destroy_node()


def test_camera_model_from_horizontal_fov() -> None:
    values = {'horizontal_fov': 1.2, 'image_width': 640, 'image_height': 480, 'camera_pitch': 0.3}
    camera = camera_of_fov(values)
    assert camera is not None
    azimuth, elevation = camera.bearing(0, 240)
    assert (camera.width, camera.height, camera.pitch) == (640, 480, 0.3)
    assert azimuth > 0.5
    assert elevation < -0.2
    assert camera_of_fov(values | {'horizontal_fov': 0.0}) is None
    assert camera_of_fov(values | {'image_height': 0}) is None
    assert camera_of_fov(values | {'image_height': 0}, CameraView(640, 480, 'front')) == camera
