# SPDX-License-Identifier: Apache-2.0
"""follow.launch.py under the real `ros2 launch`: both nodes come up and the platform moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

NEEDS = 'needs ROS 2 with launch, and hcat_ros built by colcon'
# Not `launch`: without ROS's package, our own folder of that name would be imported.
pytest.importorskip('launch_ros', reason=NEEDS)
pytest.importorskip('ros2launch', reason=NEEDS)

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from geometry_msgs.msg import Twist, TwistStamped
from launching import PATIENCE, Launch, grainy, parameters, wait_for_state
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import Box
from hcat_ros.following import FollowConfig
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message

try:
    get_package_share_path('hcat_ros')
except PackageNotFoundError:
    pytest.skip(f'{NEEDS}: its install folder is not sourced', allow_module_level=True)

Start = Callable[..., Launch]
FILE = 'follow.launch.py'
TARGET = Box(40.0, 90.0, 40.0, 40.0)


def picture() -> np.ndarray:
    """Return a textured square at `TARGET` on a plain ground."""
    frame = np.full((240, 320, 3), 90, np.uint8)
    x, y, w, h = (int(value) for value in TARGET)
    frame[y : y + h, x : x + w] = (40, 200, 240)
    frame[y + 10 : y + 30, x + 10 : x + 30] = (200, 30, 60)
    return frame


def test_the_arguments_are_listed(launch: Start) -> None:
    listing = launch('--show-args')
    assert listing.end() == 0
    for name in (
        *('platform', 'camera_info', 'cmd_vel', 'stamped', 'target_height', 'start_on_hold'),
        *('image', 'namespace', 'autostart', 'engine', 'init_box', 'log_level', 'use_sim_time'),
    ):
        assert f"'{name}':" in listing.log
    assert "'cameras':" not in listing.log


@pytest.mark.parametrize('platform', ['ground', 'drone', 'gimbal'])
def test_each_platform_has_its_preset(launch: Start, viewer: Node, platform: str) -> None:
    running = launch(
        f'platform:={platform}', 'start_tracker:=false', 'target_height:=2', 'yaw.max_speed:=0.25'
    )
    wait_for_state(viewer, '/hcat_follower', 'active', running)
    config = getattr(FollowConfig, platform)()
    names = ('platform', 'yaw.kp', 'pitch.max_speed', 'desired_elevation', 'target_height')
    (speed,) = parameters(viewer, '/hcat_follower', 'yaw.max_speed')
    assert speed.double_value == 0.25
    found = parameters(viewer, '/hcat_follower', *names)
    assert found[0].string_value == platform
    assert found[1].double_value == config.yaw.kp
    assert found[2].double_value == config.pitch.max_speed
    assert found[3].double_value == config.desired_elevation
    assert found[4].double_value == 2.0
    running.interrupt()
    time.sleep(0.1)
    running.interrupt()
    # The nodes may have ended by then; the second interrupt may then end launch itself.
    assert running.end() in (0, -2), running.log
    assert running.log.count('process has finished cleanly') == 1
    assert 'Traceback' not in running.log


@pytest.mark.parametrize(('stamped', 'kind'), [('true', TwistStamped), ('false', Twist)])
def test_commands_are_published_for_camera_images(
    launch: Start, viewer: Node, stamped: str, kind: Any
) -> None:
    commands: list[Any] = []
    viewer.create_subscription(kind, '/base/cmd_vel', commands.append, 50)
    images = viewer.create_publisher(Image, '/camera/image_raw', 5)
    infos = viewer.create_publisher(CameraInfo, '/camera/camera_info', 5)
    boxes = viewer.create_publisher(Detection2D, '/robot1/init_box', 5)
    running = launch(
        'platform:=ground',
        'namespace:=robot1',
        'image:=/camera/image_raw',
        'camera_info:=/camera/camera_info',
        'cmd_vel:=/base/cmd_vel',
        f'stamped:={stamped}',
        'threads:=1',
    )
    for node in ('hcat_tracker', 'hcat_follower'):
        wait_for_state(viewer, f'/robot1/{node}', 'active', running)
    info = CameraInfo(width=320, height=240, distortion_model='plumb_bob')
    info.k = [250.0, 0.0, 160.0, 0.0, 250.0, 120.0, 0.0, 0.0, 1.0]
    frame = picture()
    yaw = 0.0
    deadline = time.monotonic() + PATIENCE
    named = 0
    while yaw <= 0.05 and time.monotonic() < deadline:
        message = image_message(grainy(frame, named), 'bgr8')
        message.header.stamp = info.header.stamp = viewer.get_clock().now().to_msg()
        infos.publish(info)
        images.publish(message)
        named += 1
        if named % 40 == 10:
            boxes.publish(detection_message(Detection2D().header, TARGET))
        rclpy.spin_once(viewer, timeout_sec=0.05)
        if commands:
            last = commands[-1]
            yaw = (last.twist if stamped == 'true' else last).angular.z
    assert yaw > 0.05, running.log
    running.interrupt()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        rclpy.spin_once(viewer, timeout_sec=0.05)
    last = commands[-1]
    assert (last.twist if stamped == 'true' else last) == Twist(), 'zero at the end'
    assert running.end() == 0
    assert running.log.count('process has finished cleanly') == 2
    assert 'Traceback' not in running.log


def test_both_nodes_run_in_one_process(launch: Start, viewer: Node) -> None:
    running = launch('processes:=one', 'platform:=gimbal', 'threads:=1', 'node_name:=eye')
    wait_for_state(viewer, '/eye', 'active', running)
    wait_for_state(viewer, '/hcat_follower', 'active', running)
    assert parameters(viewer, '/eye', 'threads')[0].integer_value == 1
    assert parameters(viewer, '/hcat_follower', 'platform')[0].string_value == 'gimbal'
    assert running.log.count('process started') == 1
    assert 'has no parameter' not in running.log
    running.interrupt()
    running.end()
    assert 'finished cleanly' in running.log


def test_start_on_hold_is_set_and_nodes_wait_without_autostart(launch: Start, viewer: Node) -> None:
    running = launch('platform:=drone', 'autostart:=false', 'start_on_hold:=true')
    for node in ('hcat_tracker', 'hcat_follower'):
        wait_for_state(viewer, f'/{node}', 'unconfigured', running)
    hold, simulated = parameters(viewer, '/hcat_follower', 'start_on_hold', 'use_sim_time')
    assert hold.bool_value
    assert not simulated.bool_value
    running.interrupt()
    assert running.end() == 0


def test_use_sim_time_reaches_both_nodes(launch: Start, viewer: Node) -> None:
    running = launch('platform:=ground', 'autostart:=false', 'use_sim_time:=true')
    for node in ('/hcat_tracker', '/hcat_follower'):
        wait_for_state(viewer, node, 'unconfigured', running)
        assert parameters(viewer, node, 'use_sim_time')[0].bool_value, node
    running.interrupt()
    assert running.end() == 0


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ((), 'platform'),
        (('platform:=boat',), "platform:='boat': expected ground or drone or gimbal"),
        (('platform:=ground', 'stamped:=1'), "stamped:='1': expected true or false"),
        (('platform:=ground', 'target_height:=tall'), "target_height:='tall': expected a number"),
        (('platform:=ground', 'start_tracker:=no way'), "start_tracker:='no way'"),
        (('platform:=ground', 'follow_params_file:=/no/such.yaml'), 'no file /no/such.yaml'),
        (('platform:=ground', 'log_level:=loud'), "log_level:='loud': expected debug or info"),
        (('platform:=ground', 'yaw.max_sped:=0.2'), 'did you mean yaw.max_speed?'),
        (('platform:=ground', 'threads:=1.5'), "threads:='1.5': expected a whole number"),
    ],
)
def test_wrong_argument_is_refused_with_a_reason(
    launch: Start, arguments: tuple[str, ...], reason: str
) -> None:
    refused = launch(*arguments)
    assert refused.end() == 1
    assert reason in refused.log
    assert 'process started' not in refused.log
