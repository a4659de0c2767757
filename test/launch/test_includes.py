# SPDX-License-Identifier: Apache-2.0
"""Our launch files, included by another launch file, under the real `ros2 launch`."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

NEEDS = 'needs ROS 2 with launch, and hcat_ros built by colcon'
pytest.importorskip('launch_ros', reason=NEEDS)
pytest.importorskip('ros2launch', reason=NEEDS)

from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from launching import PATIENCE, Launch, parameters, wait_for_state
from rclpy.node import Node

try:
    get_package_share_path('hcat_ros')
except PackageNotFoundError:
    pytest.skip(f'{NEEDS}: its install folder is not sourced', allow_module_level=True)

TRACKER = '$(find-pkg-share hcat_ros)/launch/tracker.launch.py'
CAMERAS = '$(find-pkg-share hcat_ros)/launch/multi_camera.launch.py'


class OwnLaunch(Launch):
    """A running `ros2 launch` of a file that is in no package."""

    def __init__(self, folder: Path, content: str) -> None:
        path = folder / 'robot.launch.yaml'
        path.write_text(content)
        self.log_file = folder / 'launch.log'
        with self.log_file.open('w') as output:
            self.process = subprocess.Popen(
                ['ros2', 'launch', str(path)],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def test_image_argument_does_not_leak_into_later_includes(viewer: Node, tmp_path: Path) -> None:
    running = OwnLaunch(
        tmp_path,
        f"""
launch:
- include:
    file: {TRACKER}
    arg:
    - {{name: image, value: /cam1/image}}
    - {{name: threads, value: "1"}}
- include:
    file: {CAMERAS}
    arg:
    - {{name: cameras, value: "front,back=/usb/image"}}
""",
    )
    try:
        for tracker in ('/hcat_tracker', '/front/hcat_tracker', '/back/hcat_tracker'):
            wait_for_state(viewer, tracker, 'active', running)
        for topic, tracker in (
            ('/cam1/image', ''),
            ('/front/image_raw', '/front'),
            ('/usb/image', '/back'),
        ):
            assert await_subscriber(viewer, topic) == tracker
        assert 'image:=/cam1/image was for the tracker that was included before' in running.log
    finally:
        running.kill()


def await_subscriber(viewer: Node, topic: str) -> str:
    """Return the namespace of a topic's only subscriber, whose name DDS may learn later."""
    deadline = time.monotonic() + PATIENCE
    while True:
        (info,) = viewer.get_subscriptions_info_by_topic(topic)
        if 'UNKNOWN' not in info.node_namespace:
            return str(info.node_namespace.rstrip('/'))
        assert time.monotonic() < deadline, f'{topic}: no name of its subscriber'
        time.sleep(0.05)


def test_groups_keep_the_arguments_of_each_apart(viewer: Node, tmp_path: Path) -> None:
    """The example of the documentation."""
    running = OwnLaunch(
        tmp_path,
        f"""
launch:
- group:
    scoped: true
    forwarding: false
    children:
    - include:
        file: {TRACKER}
        arg:
        - {{name: namespace, value: front}}
        - {{name: node_name, value: eye}}
        - {{name: threads, value: "1"}}
        - {{name: use_sim_time, value: "true"}}
- group:
    scoped: true
    forwarding: false
    children:
    - include:
        file: {TRACKER}
""",
    )
    try:
        wait_for_state(viewer, '/hcat_tracker', 'active', running)
        wait_for_state(viewer, '/front/eye', 'active', running)
        for tracker, threads, simulated in (('/front/eye', 1, True), ('/hcat_tracker', 0, False)):
            found = parameters(viewer, tracker, 'threads', 'use_sim_time')
            assert (found[0].integer_value, found[1].bool_value) == (threads, simulated)
        assert 'included before' not in running.log
    finally:
        running.kill()
