# SPDX-License-Identifier: Apache-2.0
"""The follower and a tracker in separate processes: the robot stops when one of them dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('onnxruntime', reason='an engine runs here')

import rclpy
from follow_talker import LEFT, camera_info, is_zero, track_message, velocities
from geometry_msgs.msg import TwistStamped
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from talker import TARGET, grainy, scene
from vision_msgs.msg import Detection2D

from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message

TIMEOUT, RATE, FPS = 0.5, 30.0, 20.0
SLACK = 0.15
"""Allowance for a busy machine and for the last image that was still under way, s."""
Process = subprocess.Popen


class Robot:
    """A robot with a camera that records the commands that it receives."""

    def __init__(self) -> None:
        self.node: Node = rclpy.create_node('robot')
        self.commands: list[tuple[float, Any]] = []
        self.seen = 0
        reliable = QoSProfile(depth=100)
        self.images = self.node.create_publisher(Image, 'image', reliable)
        self.infos = self.node.create_publisher(CameraInfo, 'camera_info', reliable)
        self.boxes = self.node.create_publisher(Detection2D, 'init_box', reliable)
        self.tracks = self.node.create_publisher(Detection2D, 'fake_track', reliable)
        self.node.create_subscription(TwistStamped, 'cmd_vel', self._on_command, reliable)

    def _on_command(self, message: TwistStamped) -> None:
        self.commands.append((time.monotonic(), message))

    def spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            rclpy.spin_once(self.node, timeout_sec=left)

    def wait(self, until: Callable[[], Any], what: str, act: Callable[[], None] | None) -> None:
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline, f'not seen: {what}'
            if act is not None:
                act()
            self.spin(1 / FPS)

    def send_image(self) -> None:
        """Send an image with a target on its left that does not move, and its camera_info."""
        self.seen += 1
        message = image_message(grainy(scene(0), self.seen), 'bgr8')
        info = camera_info()
        info.width, info.height = 320, 240
        info.k = [250.0, 0.0, 160.0, 0.0, 250.0, 120.0, 0.0, 0.0, 1.0]
        message.header.stamp = info.header.stamp = self.node.get_clock().now().to_msg()
        message.header.frame_id = 'camera_optical_frame'
        self.infos.publish(info)
        self.images.publish(message)

    def send_track(self) -> None:
        """Send a track of a target on the left."""
        self.infos.publish(camera_info())
        self.tracks.publish(track_message(LEFT, self.node.get_clock().now().to_msg()))

    @property
    def moves(self) -> bool:
        """Whether the newest command is to turn left."""
        return bool(self.commands) and velocities(self.commands[-1][1])['yaw'] > 0.05


@pytest.fixture
def robot(ros: None) -> Iterator[Robot]:
    made = Robot()
    yield made
    made.node.destroy_node()


@pytest.fixture
def start() -> Iterator[Callable[..., Process[str]]]:
    """A function that starts one of the package's nodes with these ROS arguments."""
    started: list[Process[str]] = []

    def run(module: str, *words: str) -> Process[str]:
        command = [sys.executable, '-m', 'hcat_ros.executables', module, '--ros-args', *words]
        started.append(
            Process(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


FOLLOWER = ('-p', 'autostart:=true', '-p', f'stale_timeout:={TIMEOUT}', '-p', f'rate:={RATE}')


def test_killed_tracker_stops_the_robot_within_the_timeout(
    robot: Robot,
    start: Callable[..., Process[str]],
    record_property: Callable[[str, object], None],
) -> None:
    tracker = start('tracker_node', '-p', 'autostart:=true', '-p', 'threads:=1')
    start('follower_node', *FOLLOWER)
    robot.wait(robot.images.get_subscription_count, 'the tracker', None)
    robot.wait(robot.infos.get_subscription_count, 'the follower', None)
    robot.send_image()
    robot.boxes.publish(detection_message(Detection2D().header, TARGET))
    robot.wait(lambda: robot.moves, 'motion', robot.send_image)
    for _ in range(10):
        robot.send_image()
        robot.spin(1 / FPS)
    assert robot.moves

    tracker.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    while time.monotonic() < killed + 3 * TIMEOUT:
        robot.send_image()  # the camera continues
        robot.spin(1 / FPS)
    moved = [at for at, message in robot.commands if not is_zero(message)]
    stopped = [at for at, message in robot.commands if at > moved[-1]]
    took = stopped[0] - killed
    print(f'kill -9 of the tracker: zero after {1e3 * took:.0f} ms, timeout {1e3 * TIMEOUT:.0f} ms')
    record_property('stop_after_kill_s', took)
    assert tracker.wait(10) == -signal.SIGKILL
    assert moved[-1] < killed + TIMEOUT + SLACK
    assert took < TIMEOUT + SLACK
    assert len(stopped) > RATE * TIMEOUT / 2, 'zeros keep coming'
    assert stopped[-1] > killed + 2 * TIMEOUT


@pytest.mark.parametrize('signals', [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_follower_stops_the_robot_before_it_ends_on_a_signal(
    robot: Robot, start: Callable[..., Process[str]], signals: tuple[signal.Signals, ...]
) -> None:
    follower = start('follower_node', *FOLLOWER, '-r', 'track:=fake_track')
    robot.wait(robot.infos.get_subscription_count, 'the follower', None)
    robot.wait(lambda: robot.moves, 'motion', robot.send_track)
    for number in signals:
        follower.send_signal(number)
    sent = time.monotonic()
    robot.wait(lambda: follower.poll() is not None, 'its end', robot.send_track)
    robot.spin(0.2)
    log = follower.communicate(timeout=10)[0]
    assert follower.returncode == 0, log
    assert 'Traceback' not in log
    assert 'could not be sent' not in log
    last = [(at - sent, message) for at, message in robot.commands][-3:]
    assert all(is_zero(message) for _, message in last), last
    assert last[-1][0] < 1.0, 'at once'


def test_signal_ends_a_follower_that_is_not_active(
    robot: Robot, start: Callable[..., Process[str]]
) -> None:
    follower = start('follower_node', '-p', 'rate:=5.0')
    robot.wait(lambda: 'hcat_follower' in robot.node.get_node_names(), 'the follower', None)
    robot.spin(0.5)
    follower.send_signal(signal.SIGTERM)
    log = follower.communicate(timeout=10)[0]
    assert follower.returncode == 0, log
    assert not robot.commands
