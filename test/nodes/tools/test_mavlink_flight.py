# SPDX-License-Identifier: Apache-2.0
"""A simulated drone flown by MAVLink set-points alone: if a sign were wrong, it would turn away."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")
pytest.importorskip('onnxruntime', reason='the nodes run an engine')

import rclpy
from geometry_msgs.msg import TwistStamped, Vector3Stamped
from rclpy.node import Node
from std_srvs.srv import SetBool
from vision_msgs.msg import Detection2D

from hcat_ros.mavlink.dialect import mavlink, mavutil
from hcat_ros.nodes.tools.simulated_following import follower_parameters
from hcat_ros.simulation import Scenario

SPEED = 0.25
"""Speed of the target as a fraction of the drone's."""
SECONDS = 12.0
"""Duration of the flight, s, in which the target moves about 18 m."""
LIMIT = 90.0


class Autopilot(Node):
    """Takes velocity set-points from MAVLink, and flies the simulated drone by them."""

    def __init__(self, port: int) -> None:
        super().__init__('autopilot')
        self._link = mavutil.mavlink_connection(
            f'udpout:127.0.0.1:{port}', source_system=1, source_component=1
        )
        self._commands = self.create_publisher(TwistStamped, 'autopilot/cmd_vel', 10)
        self.truths: list[tuple[float, float]] = []
        """Azimuth of the target, rad off the camera's axis, and its distance, m, in each frame."""
        self.tracks = self.setpoints = 0
        self.create_subscription(Vector3Stamped, 'truth_bearing', self._on_truth, 10)
        self.create_subscription(Detection2D, 'track', self._on_track, 10)
        self.create_timer(0.01, self._fly)
        self.create_timer(1.0, self._beat)

    def _beat(self) -> None:
        autopilot = (mavlink.MAV_TYPE_QUADROTOR, mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA)
        self._link.mav.heartbeat_send(*autopilot, 0, 0, mavlink.MAV_STATE_ACTIVE)

    def _fly(self) -> None:
        while (message := self._link.recv_msg()) is not None:
            if message.get_type() != 'SET_POSITION_TARGET_LOCAL_NED':
                continue
            assert message.coordinate_frame == mavlink.MAV_FRAME_BODY_NED
            self.setpoints += 1
            command = TwistStamped()
            command.header.stamp = self.get_clock().now().to_msg()
            # MAVLink has forward, right, down; ROS has forward, left, up.
            linear, angular = command.twist.linear, command.twist.angular
            linear.x, linear.y, linear.z = message.vx, -message.vy, -message.vz
            angular.z = -message.yaw_rate
            self._commands.publish(command)

    def _on_truth(self, message: Vector3Stamped) -> None:
        self.truths.append((message.vector.x, message.vector.z))

    def _on_track(self, message: Detection2D) -> None:
        self.tracks += 1


@pytest.fixture
def processes(checkout: Path, monkeypatch: pytest.MonkeyPatch, ros: None) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(checkout / 'tools'))
    started = pytest.importorskip('node_processes').NodeProcesses()
    yield started
    started.end()


@pytest.mark.parametrize('released', [True, False])
def test_simulated_drone_follows_by_mavlink_only_after_release(
    processes: Any, checkout: Path, released: bool
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    autopilot = Autopilot(port)

    def spin(until: Callable[[], object], what: str, limit: float = LIMIT) -> None:
        deadline = time.monotonic() + limit
        while not until():
            assert time.monotonic() < deadline, f'not seen: {what}'
            rclpy.spin_once(autopilot, timeout_sec=0.02)

    scenario = Scenario('straight', 'drone', 1, SPEED, fps=20.0)
    preset = checkout / 'config' / 'follow_drone.yaml'
    try:
        processes.start('tracker_node', {'autostart': True, 'threads': 1})
        own = follower_parameters(scenario) | {'autostart': True}
        processes.start('follower_node', own, '--params-file', str(preset))
        processes.start(
            'mavlink_camera',
            {
                'connections': f'udpin:127.0.0.1:{port}',
                'motion': 'velocity',
                'motion_max_speed': 20.0,
                'motion_max_rate': 3.0,
            },
        )
        hold = autopilot.create_client(SetBool, 'mavlink_camera/hold')
        spin(hold.service_is_ready, 'the camera')
        topics = ('track', 'cmd_vel')
        spin(lambda: all(autopilot.count_publishers(t) for t in topics), 'tracker and follower')
        simulated = {
            'platform': 'drone',
            'path': 'straight',
            'seed': 1,
            'speed': SPEED,
            'fps': 20.0,
            'init_box': True,
            'subscribers': 1,
        }
        processes.start('camera_sim', simulated, '-r', 'cmd_vel:=autopilot/cmd_vel')
        if released:
            answer = hold.call_async(SetBool.Request(data=False))
            spin(answer.done, 'the release')
        spin(lambda: autopilot.tracks > 0, 'the first track')
        end = time.monotonic() + SECONDS
        spin(lambda: time.monotonic() > end, 'the end')
        azimuth, distance = np.median(autopilot.truths[-20:], axis=0)
        if released:
            assert autopilot.setpoints > 20
            assert abs(math.degrees(azimuth)) < 20, 'the view reaches 35 degrees to either side'
            assert distance < 18
        else:
            assert autopilot.setpoints == 0
            assert distance > 20
    finally:
        autopilot.destroy_node()
