# SPDX-License-Identifier: Apache-2.0
"""A client that uses our topics and frames as nav2's following server does.

According to its public source (opennav_following, FollowingServer), the server subscribes to
`pose_topic` as PoseStamped with queue depth 1. It uses a pose that is younger than
`detection_timeout` and transforms it with tf2 into `fixed_frame` at its stamp. With
`tracked_frame` it looks that frame up in `fixed_frame` at the present time instead, within
`transform_tolerance`. Then it drives to `desired_distance` from the target.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
tf2_ros = pytest.importorskip(
    'tf2_ros', reason='needs tf2_ros (apt install ros-$ROS_DISTRO-tf2-ros-py)'
)

from follow_talker import FOCAL, SIZE, FollowTalker, camera_info, track_message
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from rclpy.time import Time
from test_parent_frame import Frames

from hcat_ros.boxes import Box

DESIRED_DISTANCE, LINEAR_TOLERANCE = 1.0, 0.15
DETECTION_TIMEOUT, TRANSFORM_TOLERANCE = 2.0, 1.0
"""Seconds; nav2's transform_tolerance is 0.1 s, which is too short on a busy machine."""
TARGET, HEIGHT = np.array((5.0, 2.0)), 1.5
"""Position of the target in odom and its height, m."""
CAMERA = 0.25
"""Distance of the camera in front of the robot's centre, m."""
STEP = 0.05
Follow = Callable[..., FollowTalker]


class Client:
    """The following server's side: where the target is in odom, by topic or by frame."""

    def __init__(self, node: Any, pose_topic: str, tracked_frame: str) -> None:
        self._node, self._frame = node, tracked_frame
        self._buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        self._detected: PoseStamped | None = None
        if not tracked_frame:
            node.create_subscription(PoseStamped, pose_topic, self._on_pose, QoSProfile(depth=1))

    def _on_pose(self, message: PoseStamped) -> None:
        self._detected = message

    def place(self, spin: Callable[[float], None]) -> np.ndarray | None:
        """Return x, y of the target in odom; None: not detected."""
        now = self._node.get_clock().now()
        if self._frame:
            return self._look_up(self._frame, now, spin)
        pose = self._detected
        if pose is None:
            return None
        stamp = Time.from_msg(pose.header.stamp)
        if (now - stamp).nanoseconds > DETECTION_TIMEOUT * 1e9:
            return None
        if self._look_up(pose.header.frame_id, stamp, spin) is None:
            return None
        transform = self._buffer.lookup_transform('odom', pose.header.frame_id, stamp)
        q, shift = transform.transform.rotation, transform.transform.translation
        yaw = 2 * math.atan2(q.z, q.w)
        x, y = pose.pose.position.x, pose.pose.position.y
        return np.array(
            (
                shift.x + math.cos(yaw) * x - math.sin(yaw) * y,
                shift.y + math.sin(yaw) * x + math.cos(yaw) * y,
            )
        )

    def _look_up(self, frame: str, at: Time, spin: Callable[[float], None]) -> np.ndarray | None:
        deadline = time.monotonic() + TRANSFORM_TOLERANCE
        while not self._buffer.can_transform('odom', frame, at, Duration(nanoseconds=0)):
            if time.monotonic() > deadline:
                return None
            spin(0.005)
        shift = self._buffer.lookup_transform('odom', frame, at).transform.translation
        return np.array((shift.x, shift.y))


class Robot:
    """A robot that publishes its pose in odom by tf, with a camera and a perfect tracker."""

    def __init__(self, talker: FollowTalker) -> None:
        self.x = self.y = self.yaw = 0.0
        self._talker, self._frames = talker, Frames(talker)
        self._frames.mount(CAMERA, 0.0)

    def spin(self, seconds: float) -> None:
        """Spin for this many seconds while publishing transforms and tracks."""
        deadline = time.monotonic() + seconds
        while True:
            self._frames.stand(self.x, self.y, self.yaw)
            now = self._talker.node.get_clock().now().to_msg()
            self._talker.tracks.publish(track_message(self._seen(), now))
            self._talker.spin_for(0.02)
            if time.monotonic() > deadline:
                return

    def _seen(self) -> Box:
        forwards = np.array((math.cos(self.yaw), math.sin(self.yaw)))
        away = TARGET - (self.x, self.y) - CAMERA * forwards
        azimuth = math.atan2(away[1], away[0]) - self.yaw
        side = FOCAL * HEIGHT / (math.hypot(*away) * math.cos(azimuth))
        u = SIZE[0] / 2 + 0.5 - FOCAL * math.tan(azimuth)
        return Box.from_center(u, SIZE[1] / 2 + 0.5, side / 3, side)

    def drive(self, speed: float, turn: float, seconds: float) -> None:
        self.yaw += turn * seconds
        self.x += speed * seconds * math.cos(self.yaw)
        self.y += speed * seconds * math.sin(self.yaw)


@pytest.mark.parametrize('tracked_frame', ['', 'target'], ids=['pose_topic', 'tracked_frame'])
def test_robot_reaches_the_desired_distance_of_nav2(follow: Follow, tracked_frame: str) -> None:
    # On hold: nav2 drives here.
    talker = follow(
        start_on_hold=True, range_mode='size', target_height=HEIGHT, target_frame=tracked_frame
    )
    talker.start(camera_info())
    robot = Robot(talker)
    client = Client(talker.node, 'target_pose', tracked_frame)
    seen, known, deadline = None, 0, time.monotonic() + 300
    while time.monotonic() < deadline:
        robot.spin(STEP)
        seen = client.place(robot.spin)
        if seen is None:
            continue
        known += 1
        # The following server's goal: at the desired distance, on the line to the target.
        towards = seen - (robot.x, robot.y)
        distance = math.hypot(*towards)
        if known > 20 and abs(distance - DESIRED_DISTANCE) < LINEAR_TOLERANCE:
            break
        heading = math.atan2(towards[1], towards[0]) - robot.yaw
        if known > 5:
            speed = min(0.5, max(-0.5, distance - DESIRED_DISTANCE + 0.1))
            robot.drive(speed, min(0.5, max(-0.5, heading)), 2 * STEP)
    assert known > 20, 'the target was hardly ever known'
    place = np.array((robot.x, robot.y))
    assert math.hypot(*(TARGET - place)) == pytest.approx(DESIRED_DISTANCE, abs=0.3)
    assert seen == pytest.approx(TARGET, abs=0.3)
