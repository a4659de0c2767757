# SPDX-License-Identifier: Apache-2.0
"""Publishers of the follower: commands, including the final stop, and the target."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Twist, TwistStamped
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from hcat_ros.following import Command, Follower
from hcat_ros.nodes.follower import messages as follow_messages
from hcat_ros.nodes.follower.parent_frame import ParentFrame
from hcat_ros.nodes.lifecycle import GuardedLifecycleNode
from hcat_ros.nodes.qos import RELIABLE_QOS, overridable

TF_QOS = QoSProfile(depth=100)
"""The QoS of tf2's own broadcasters."""
COMMAND_QOS = QoSProfile(depth=1)
"""Keeps only the newest command, because an old command is useless."""
ZEROS, ZERO_PERIOD = 3, 0.02
"""Number of zero commands in a stop, and the seconds between two of them."""
ACKNOWLEDGED = Duration(nanoseconds=200_000_000)
"""Longest time to wait until subscribers acknowledge a stop."""


class FollowOutput:
    """The publishers of a configured follower node; they are silent unless it is active."""

    def __init__(
        self,
        node: GuardedLifecycleNode,
        stamped: bool,
        target_frame: str = '',
        parent: str = '',
        tf_timeout: float = 0.2,
        refuse: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Create the publishers.

        Args:
            node: node that publishes.
            stamped: whether commands are TwistStamped.
            target_frame: name of the target's frame on /tf; empty: no frame is published.
            parent: frame of `target_pose`; empty: the camera's frame.
            tf_timeout: seconds that a pose waits for its transform to `parent`.
            refuse: takes the reason why a pose has no transform.

        Raises:
            ValueError: if `parent` needs tf2_ros and tf2_ros is not installed.

        """
        self._node = node
        self.stamped = stamped
        kind = TwistStamped if stamped else Twist
        self._commands = self._publisher(kind, 'cmd_vel', COMMAND_QOS)
        self._bearings = self._publisher(PoseWithCovarianceStamped, 'target_bearing', RELIABLE_QOS)
        self._poses = self._publisher(PoseStamped, 'target_pose', RELIABLE_QOS)
        self._covariant = self._publisher(
            PoseWithCovarianceStamped, 'target_pose_with_covariance', RELIABLE_QOS
        )
        self._markers = self._publisher(MarkerArray, 'target_markers', RELIABLE_QOS)
        self._target_frame = target_frame.strip('/')
        self._parent: ParentFrame | None = None
        if parent:
            self._parent = ParentFrame(node, parent, tf_timeout, self._poses.publish, refuse)
        self._all = [self._commands, self._bearings, self._poses, self._covariant, self._markers]
        self._transforms: Any = None
        if self._target_frame:
            self._transforms = self._publisher(TFMessage, '/tf', TF_QOS)
            self._all.append(self._transforms)

    def _publisher(self, kind: Any, topic: str, qos: QoSProfile) -> Any:
        return self._node.create_lifecycle_publisher(
            kind, topic, copy(qos), qos_overriding_options=overridable()
        )

    @property
    def command_topic(self) -> str:
        """The full name of cmd_vel."""
        return str(self._commands.topic_name)

    def destroy(self) -> None:
        """Destroy the publishers."""
        if self._parent is not None:
            self._parent.destroy()
        for publisher in self._all:
            self._node.destroy_lifecycle_publisher(publisher)

    def command(self, command: Command, frame: str) -> None:
        """Publish a command. Raises ValueError, without publishing, if it is not finite."""
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=frame)
        message = follow_messages.command_message(command, header, self.stamped)
        self._commands.publish(message)

    def stop(self, frame: str) -> None:
        """Publish zero `ZEROS` times, then wait for the subscribers' acknowledgement."""
        try:
            for number in range(ZEROS):
                if number:
                    time.sleep(ZERO_PERIOD)
                self.command(Command(), frame)
            self._commands.wait_for_all_acked(ACKNOWLEDGED)
        except Exception as error:  # for example when ROS has been shut down already
            self._node.get_logger().error(f'the stop could not be sent: {error}')

    def stop_once(self, frame: str) -> None:
        """Publish zero once, from any thread, ignoring errors: the dead man repeats it."""
        with suppress(Exception):
            self.command(Command(), frame)

    def target(
        self,
        follower: Follower,
        seen: Header,
        stamp: float,
        frame: str,
        pitch: float,
        target: str = '',
    ) -> None:
        """Publish where the target was at the stamp of a track, with its range if known.

        seen: header of the track; frame: frame at the camera with x forward; pitch: angle by which
        the camera looks down, rad; target: id of the target.
        """
        bearing = follower.bearing(stamp)
        if bearing is None:
            return
        header = Header(stamp=seen.stamp, frame_id=frame)
        self._bearings.publish(follow_messages.bearing_message(bearing, header, pitch))
        distance = follower.target_range(stamp)
        if distance is None:
            return
        pose = follow_messages.pose_message(bearing, distance.range, header, pitch)
        if self._parent is None:
            self._poses.publish(pose)
        else:
            self._parent.add(pose)
        image = Header(stamp=seen.stamp, frame_id=seen.frame_id or frame)
        self._covariant.publish(
            follow_messages.covariant_pose_message(bearing, distance, image, pitch)
        )
        if self._transforms is not None and frame != self._target_frame:
            self._transforms.publish(follow_messages.transform_message(pose, self._target_frame))
        size = follower.target_size(stamp)
        if size is not None and self._markers.get_subscription_count():
            text = f'{target} {distance.range:.1f} m'.lstrip()
            self._markers.publish(follow_messages.marker_message(pose, size, text))
