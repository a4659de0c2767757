# SPDX-License-Identifier: Apache-2.0
"""follow_sim.launch.py under the real `ros2 launch`: the simulated drone follows its target."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

NEEDS = 'needs ROS 2 with launch, and hcat_ros built by colcon'
# Not `launch`: without ROS's package, our own folder of that name would be imported.
pytest.importorskip('launch_ros', reason=NEEDS)
pytest.importorskip('ros2launch', reason=NEEDS)

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from geometry_msgs.msg import TwistStamped, Vector3Stamped
from launching import PATIENCE, Launch, parameters, wait_for_state
from rclpy.node import Node
from vision_msgs.msg import Detection2D

from hcat_ros.simulation import PLATFORMS

try:
    get_package_share_path('hcat_ros')
except PackageNotFoundError:
    pytest.skip(f'{NEEDS}: its install folder is not sourced', allow_module_level=True)

Start = Callable[..., Launch]
FILE = 'follow_sim.launch.py'


def test_the_arguments_are_listed(launch: Start) -> None:
    listing = launch('--show-args')
    assert listing.end() == 0
    for name in (
        *('path', 'seed', 'pictures', 'duration', 'latency', 'fps', 'horizontal_fov'),
        *('platform', 'target_height', 'stamped', 'start_on_hold', 'compensate_latency'),
        *('namespace', 'image', 'cmd_vel', 'engine', 'log_level', 'start_tracker'),
    ):
        assert listing.log.count(f"'{name}':") == 1, name
    for name in ('init_box', 'subscribers', 'use_sim_time', 'image_width', 'image_transport'):
        assert f"'{name}':" not in listing.log


def test_drone_follows_until_the_simulation_ends(launch: Start, viewer: Node) -> None:
    commands: list[TwistStamped] = []
    bearings: list[Vector3Stamped] = []
    truths: list[Detection2D] = []
    viewer.create_subscription(TwistStamped, '/uav/cmd_vel', commands.append, 50)
    viewer.create_subscription(Vector3Stamped, '/uav/truth_bearing', bearings.append, 50)
    viewer.create_subscription(Detection2D, '/uav/truth', truths.append, 50)
    running = launch(
        *('platform:=drone', 'path:=straight', 'namespace:=uav', 'seed:=2', 'duration:=8'),
        *('width:=320', 'height:=240', 'fps:=20', 'threads:=1'),
    )
    deadline = time.monotonic() + 2 * PATIENCE
    while running.process.poll() is None and time.monotonic() < deadline:
        rclpy.spin_once(viewer, timeout_sec=0.1)
    assert running.end() == 0, running.log
    assert max(command.twist.linear.x for command in commands) > 1, 'it has flown after it'
    # A drone that stands still would end over 20 m behind the target.
    assert bearings[-1].vector.z < 20
    assert abs(bearings[-1].vector.x) < 0.2
    assert sum(bool(truth.results) for truth in truths) > 0.9 * len(truths)
    assert running.log.count('process has finished cleanly') == 3, running.log
    assert 'Traceback' not in running.log


def test_follower_gets_the_settings_of_the_platform(launch: Start, viewer: Node) -> None:
    running = launch('platform:=drone', 'target_height:=0.5', 'desired_range:=6', 'yaw.kp:=9')
    wait_for_state(viewer, '/hcat_follower', 'active', running)
    names = ('platform', 'target_height', 'range_mode', 'desired_range', 'forward.max_speed')
    found = parameters(viewer, '/hcat_follower', *names, 'yaw.kp', 'horizontal_fov')
    assert found[0].string_value == 'drone'
    assert found[1].double_value == 0.5
    assert found[2].string_value == 'size'
    assert found[3].double_value == 6.0
    assert found[4].double_value == PLATFORMS['drone'].forward.speed
    assert found[5].double_value == 9.0, 'an axis, which is not declared'
    assert found[6].double_value == 0.0, 'it has camera_info'
    height, box = parameters(viewer, '/camera_sim', 'target_height', 'init_box')
    assert height.double_value == 0.5
    assert box.bool_value
    running.interrupt()
    assert running.end() == 0, running.log


def test_own_parameter_file_is_used(launch: Start, viewer: Node, tmp_path: Path) -> None:
    file = tmp_path / 'own.yaml'
    file.write_text('/**:\n  ros__parameters:\n    yaw.kp: 1.25\n')
    running = launch('platform:=gimbal', 'stamped:=false', f'follow_params_file:={file}')
    wait_for_state(viewer, '/hcat_follower', 'active', running)
    gain, stamped = parameters(viewer, '/hcat_follower', 'yaw.kp', 'stamped')
    assert gain.double_value == 1.25
    assert not stamped.bool_value
    assert not parameters(viewer, '/camera_sim', 'stamped')[0].bool_value
    running.interrupt()
    assert running.end() == 0, running.log


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (('platform:=boat',), "platform 'boat': expected ground or drone or gimbal"),
        (('path:=round',), "path 'round': expected"),
        (('seed:=one',), "seed:='one': expected a whole number"),
        (('seed:=-1',), 'seed -1: expected'),
        (('fps:=0',), 'fps 0: expected'),
        (('follow_params_file:=/no/such.yaml',), 'no file /no/such.yaml'),
        (('threads:=1.5',), "threads:='1.5': expected a whole number"),
    ],
)
def test_wrong_argument_is_refused_with_a_reason(
    launch: Start, arguments: tuple[str, ...], reason: str
) -> None:
    refused = launch(*arguments)
    assert refused.end() == 1
    assert reason in refused.log
    assert 'process started' not in refused.log
