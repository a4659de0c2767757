# SPDX-License-Identifier: Apache-2.0
"""A follower node, and a node that publishes to it and records its output, over real DDS."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Twist, TwistStamped
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import SetBool
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

from hcat_ros.boxes import Box
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.follower.node import FollowerNode

SIZE = (640, 480)
FOCAL = 500.0
FPS = 30.0
AHEAD = Box.from_center(320, 240, 60, 120)
LEFT, RIGHT = Box.from_center(120, 240, 60, 120), Box.from_center(520, 240, 60, 120)
ABOVE, BELOW = Box.from_center(320, 100, 60, 120), Box.from_center(320, 380, 60, 120)
RELIABLE = QoSProfile(depth=100)


def camera_info(distortion: tuple[float, ...] = (), model: str = 'plumb_bob') -> CameraInfo:
    """Return the calibration of a camera of `SIZE`, with its principal point in the middle."""
    info = CameraInfo(width=SIZE[0], height=SIZE[1], distortion_model=model, d=list(distortion))
    info.k = [FOCAL, 0.0, SIZE[0] / 2, 0.0, FOCAL, SIZE[1] / 2, 0.0, 0.0, 1.0]
    info.p = [FOCAL, 0.0, SIZE[0] / 2, 0.0, 0.0, FOCAL, SIZE[1] / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def track_message(box: Box, stamp: Any, score: float = 0.9, target: str = '1') -> Detection2D:
    """Return a track as the tracker sends it."""
    message = detection_message(Detection2D().header, box, target)
    message.header.frame_id = 'camera_optical_frame'
    message.header.stamp = stamp
    message.results = [ObjectHypothesisWithPose()]
    message.results[0].hypothesis.score = score
    return message


def velocities(message: Twist | TwistStamped) -> dict[str, float]:
    """Return the velocities of a command by axis."""
    twist = message.twist if isinstance(message, TwistStamped) else message
    return {
        'forward': twist.linear.x,
        'left': twist.linear.y,
        'up': twist.linear.z,
        'roll': twist.angular.x,
        'pitch': twist.angular.y,
        'yaw': twist.angular.z,
    }


def is_zero(message: Twist | TwistStamped) -> bool:
    """Return whether a command is zero."""
    return not any(velocities(message).values())


class FollowTalker:
    """Publishes to a follower node and records the messages that it publishes."""

    def __init__(self, namespace: str = '', **parameters: Any) -> None:
        overrides = [
            Parameter(name.replace('__', '.'), value=value) for name, value in parameters.items()
        ]
        self.follower = FollowerNode(namespace=namespace, parameter_overrides=overrides)
        self.node = node = rclpy.create_node('talker', namespace=namespace)
        self.commands: list[tuple[float, Any]] = []
        """Each command with the time.monotonic() at which it arrived."""
        self.bearings: list[PoseWithCovarianceStamped] = []
        self.poses: list[PoseStamped] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.tracks = node.create_publisher(Detection2D, 'track', RELIABLE)
        self.infos = node.create_publisher(CameraInfo, 'camera_info', RELIABLE)
        kind = TwistStamped if parameters.get('stamped', True) else Twist
        for message_type, topic, callback in (
            (kind, 'cmd_vel', self._on_command),
            (PoseWithCovarianceStamped, 'target_bearing', self.bearings.append),
            (PoseStamped, 'target_pose', self.poses.append),
            (DiagnosticArray, '/diagnostics', self.diagnostics.append),
        ):
            node.create_subscription(message_type, topic, callback, RELIABLE)
        self.hold_client = node.create_client(SetBool, 'hcat_follower/hold')
        self.state_client = node.create_client(ChangeState, 'hcat_follower/change_state')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.follower)
        self.executor.add_node(node)

    def _on_command(self, message: Any) -> None:
        self.commands.append((time.monotonic(), message))

    @property
    def last(self) -> dict[str, float]:
        """The newest command."""
        return velocities(self.commands[-1][1])

    def spin(self, until: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        """Spin until a condition holds; fail with `what` in the message after `timeout` s."""
        deadline = time.monotonic() + timeout
        while not until():
            assert time.monotonic() < deadline, f'in {timeout:g} s not seen: {what}'
            self.executor.spin_once(timeout_sec=0.02)

    def spin_for(self, seconds: float) -> None:
        """Spin for this many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.01)

    def start(self, info: CameraInfo | None = None) -> None:
        """Bring the node up, wait until DDS has connected everything and send a camera_info."""
        self.follower.start()
        assert self.follower.state_label == 'active', self.follower.failure
        self.spin(self.connected, 'connections')
        self.infos.publish(camera_info() if info is None else info)
        self.spin(lambda: self.follower.camera is not None, 'camera')
        self.spin(lambda: bool(self.commands), 'a command')

    def connected(self) -> bool:
        """Whether all topics are matched both ways."""
        publishers = (self.tracks, self.infos)
        return (
            all(p.get_subscription_count() > 0 for p in publishers)
            and self.node.count_publishers('cmd_vel') > 0
            and self.node.count_publishers('target_pose') > 0
        )

    def send(
        self,
        box: Box = AHEAD,
        score: float = 0.9,
        age: float = 0.0,
        target: str = '1',
        lost: bool = False,
    ) -> Detection2D:
        """Publish a track of an image that is `age` s old; return it.

        lost: the track says that the target is lost, and its box is the search position.
        """
        now = self.follower.get_clock().now().nanoseconds
        stamp = Time(nanoseconds=now - int(age * 1e9)).to_msg()
        message = track_message(box, stamp, score, target)
        if lost:
            message.results = []
        self.tracks.publish(message)
        return message

    def stream(self, seconds: float, box: Box = AHEAD, **how: Any) -> None:
        """Publish tracks at `FPS` for this many seconds, and spin."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.send(box, **how)
            self.spin_for(1 / FPS)

    def follow(self, box: Box, name: str) -> float:
        """Publish tracks until the commanded velocity of this axis is not zero; return it."""
        deadline = time.monotonic() + 20
        while not (self.commands and abs(self.last[name]) > 0.01):
            assert time.monotonic() < deadline, f'no {name}: {self.follower.last_command}'
            self.stream(0.1, box)
        return self.last[name]

    def wait_for_stop(self, since: float, patience: float = 5.0) -> float:
        """Wait for a zero command that arrived after `since`; return the time of the first one."""

        def stops() -> list[float]:
            return [at for at, message in self.commands if at > since and is_zero(message)]

        self.spin(lambda: bool(stops()), 'a stop', patience)
        return stops()[0]

    def wait_for_diagnostics(self, words: str) -> dict[str, str]:
        """Wait for diagnostics whose message contains these words; return their values."""

        def seen() -> bool:
            status = self.diagnostics[-1].status[0] if self.diagnostics else None
            return status is not None and words in status.message

        self.spin(seen, f'diagnostics: {words}')
        status = self.diagnostics[-1].status[0]
        return {'level': status.level, 'message': status.message} | {
            pair.key: pair.value for pair in status.values
        }

    def call(self, client: Any, request: Any) -> Any:
        """Call a service and return its response."""
        self.spin(client.service_is_ready, 'service')
        future = client.call_async(request)
        self.spin(future.done, 'response')
        return future.result()

    def hold(self, on: bool) -> str:
        """Call ~/hold; return its message."""
        response = self.call(self.hold_client, SetBool.Request(data=on))
        assert response.success
        return str(response.message)

    def change(self, transition: int) -> bool:
        """Request a lifecycle transition over the service; return whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(self.call(self.state_client, request).success)

    def set(self, name: str, value: Any) -> Any:
        """Set a parameter of the node; return the result."""
        return self.follower.set_parameters([Parameter(name, value=value)])[0]

    def close(self) -> None:
        """Destroy the nodes."""
        self.executor.shutdown()
        self.follower.destroy_node()
        self.node.destroy_node()


def angles(orientation: Any) -> tuple[float, float]:
    """Return yaw and pitch (REP-103) of a quaternion without roll."""
    x, y, z, w = orientation.x, orientation.y, orientation.z, orientation.w
    return (
        math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
        math.asin(2 * (w * y - z * x)),
    )
