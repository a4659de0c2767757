# SPDX-License-Identifier: Apache-2.0
"""target_pose in a navigation frame such as odom; with real tf2 if tf2_ros is installed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from follow_talker import AHEAD, FOCAL, SIZE, FollowTalker, camera_info, track_message
from geometry_msgs.msg import PoseStamped, Quaternion, TransformStamped
from rclpy.clock import ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from hcat_ros.boxes import Box
from hcat_ros.nodes.follower.parent_frame import ParentFrame, transform_pose
from hcat_ros.nodes.lifecycle import GuardedLifecycleNode

NEEDS_TF2 = 'needs tf2_ros (apt install ros-$ROS_DISTRO-tf2-ros-py)'
Follow = Callable[..., FollowTalker]


def quaternion(vector: tuple[float, float, float]) -> Quaternion:
    """Return the quaternion of a rotation vector, rad."""
    angle = math.hypot(*vector)
    x, y, z = (math.sin(angle / 2) * value / angle if angle else 0.0 for value in vector)
    return Quaternion(x=x, y=y, z=z, w=math.cos(angle / 2))


def matrix(vector: tuple[float, float, float]) -> np.ndarray:
    """Return the rotation matrix of a rotation vector, computed by OpenCV."""
    return cv2.Rodrigues(np.array(vector))[0]


def test_pose_transform_matches_rotation_matrices() -> None:
    turn, own = (0.3, -0.8, 1.1), (-0.4, 0.2, 0.9)
    pose, transform = PoseStamped(), TransformStamped()
    pose.header.frame_id, pose.header.stamp.sec = 'camera', 7
    pose.pose.position.x, pose.pose.position.y, pose.pose.position.z = 4.0, -1.0, 0.5
    pose.pose.orientation = quaternion(own)
    transform.header.frame_id, transform.header.stamp.sec = 'odom', 8
    shift = transform.transform.translation
    shift.x, shift.y, shift.z = 10.0, 20.0, 30.0
    transform.transform.rotation = quaternion(turn)
    found = transform_pose(pose, transform)
    assert (found.header.frame_id, found.header.stamp.sec) == ('odom', 7)
    place = found.pose.position
    expected = matrix(turn) @ (4.0, -1.0, 0.5) + (10, 20, 30)
    assert (place.x, place.y, place.z) == pytest.approx(expected)
    q = found.pose.orientation
    angle = 2 * math.atan2(math.hypot(q.x, q.y, q.z), q.w)
    axis = np.array((q.x, q.y, q.z)) / math.hypot(q.x, q.y, q.z)
    assert matrix(tuple(angle * axis)) == pytest.approx(matrix(turn) @ matrix(own))


def test_missing_tf2_ros_fails_configuration_with_the_remedy(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    talker = follow(target_frame_parent='odom')
    talker.follower.start()
    assert talker.follower.state_label == 'unconfigured'
    assert 'target_frame_parent odom: looking up transforms needs tf2_ros' in (
        talker.follower.failure
    )
    assert 'apt install ros-$ROS_DISTRO-tf2-ros-py' in talker.follower.failure


class BufferOfHumble:
    """Creates on its node what Humble's tf2_ros.Buffer creates."""

    def __init__(self, node: Node) -> None:
        self.srv = node.create_service(Trigger, 'tf2_frames', lambda request, response: response)

    def lookup_transform(self, *frames: Any) -> Any:
        raise LookupError('no frames')


class BufferOfJazzy(BufferOfHumble):
    """Creates on its node and its clock what Jazzy's tf2_ros.Buffer creates."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        back = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1))
        self.jump_handle = node.get_clock().create_jump_callback(
            back, post_callback=lambda jump: jumps.append(self)
        )


jumps: list[BufferOfJazzy] = []
"""Buffers whose callback for a jump of the clock has run."""


class Listener:
    """Creates on its node what tf2_ros.TransformListener creates."""

    def __init__(self, buffer: BufferOfHumble, node: Node, *, spin_thread: bool) -> None:
        self._node = node
        self._subscriptions = [
            node.create_subscription(TFMessage, topic, lambda message: None, 10)
            for topic in ('/tf', '/tf_static')
        ]

    def unregister(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


@pytest.mark.parametrize('buffer', [BufferOfHumble, BufferOfJazzy])
def test_tf2_entities_are_removed_from_the_node(
    ros: None, monkeypatch: pytest.MonkeyPatch, buffer: type
) -> None:
    """Needs no tf2_ros: test doubles create the same entities on the node."""
    tf2 = SimpleNamespace(Buffer=buffer, TransformListener=Listener, TransformException=LookupError)
    monkeypatch.setitem(sys.modules, 'tf2_ros', tf2)
    overrides = [Parameter('use_sim_time', value=True)]
    node = GuardedLifecycleNode('frames', parameter_overrides=overrides)

    def parts() -> list[list[Any]]:
        return [list(each) for each in (node.services, node.subscriptions, node.timers)]

    before = parts()
    for _ in range(3):
        parent = ParentFrame(node, 'odom', 0.1, lambda pose: None, lambda reason: None)
        assert len(parts()[0]) == len(before[0]) + 1
        parent.destroy()
    assert parts() == before
    jumps.clear()
    for seconds in (1000, 10):
        node.get_clock().set_ros_time_override(Time(seconds=seconds, clock_type=ClockType.ROS_TIME))
    assert jumps == []
    node.destroy_node()


@pytest.mark.parametrize('part', ['translation', 'rotation'])
def test_a_transform_that_is_not_finite_is_refused(
    ros: None, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """tf2 itself refuses NaN, but not infinity."""
    transform = TransformStamped()
    getattr(transform.transform, part).x = math.inf
    monkeypatch.setattr(BufferOfJazzy, 'lookup_transform', lambda *given: transform)
    tf2 = SimpleNamespace(
        Buffer=BufferOfJazzy, TransformListener=Listener, TransformException=LookupError
    )
    monkeypatch.setitem(sys.modules, 'tf2_ros', tf2)
    node = GuardedLifecycleNode('frames')
    published: list[PoseStamped] = []
    refused: list[str] = []
    parent = ParentFrame(node, 'odom', 0.1, published.append, refused.append)
    parent.add(PoseStamped())
    assert (published, refused) == ([], ['the transform to odom is not finite'])
    parent.destroy()
    node.destroy_node()


class Frames:
    """Publishes the transforms of the robot and its camera, as a robot's own nodes do."""

    def __init__(self, talker: FollowTalker) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._moving = talker.node.create_publisher(TFMessage, '/tf', 100)
        self._static = talker.node.create_publisher(TFMessage, '/tf_static', latched)
        self.talker = talker

    def mount(self, forward: float, up: float) -> None:
        self._static.publish(self._message('base_link', 'camera_frame', (forward, 0.0, up), 0.0))

    def stand(self, x: float, y: float, yaw: float) -> None:
        self._moving.publish(self._message('odom', 'base_link', (x, y, 0.0), yaw))

    def _message(
        self, parent: str, child: str, place: tuple[float, float, float], yaw: float
    ) -> TFMessage:
        transform = TransformStamped(child_frame_id=child)
        transform.header.frame_id = parent
        transform.header.stamp = self.talker.node.get_clock().now().to_msg()
        shift = transform.transform.translation
        shift.x, shift.y, shift.z = place
        transform.transform.rotation = quaternion((0.0, 0.0, yaw))
        return TFMessage(transforms=[transform])


HEIGHT = 1.5
NEAR = FOCAL * HEIGHT / 250
"""Distance at which a target of `HEIGHT` is 250 pixels high, m."""


def test_target_pose_is_published_in_odom(follow: Follow) -> None:
    pytest.importorskip('tf2_ros', reason=NEEDS_TF2)
    talker = follow(
        target_frame_parent='odom', range_mode='size', target_height=HEIGHT, tf_timeout=2.0
    )
    talker.start(camera_info())
    frames = Frames(talker)
    frames.mount(0.25, 0.5)
    box = Box.from_center(SIZE[0] / 2 + 0.5, SIZE[1] / 2 + 0.5, 100, 250)
    for _ in range(20):
        frames.stand(10.0, 20.0, math.pi / 2)
        talker.tracks.publish(track_message(box, talker.node.get_clock().now().to_msg()))
        talker.spin_for(0.03)
    frames.stand(10.0, 20.0, math.pi / 2)
    talker.spin(lambda: len(talker.poses) > 5, 'poses')
    pose = talker.poses[-1]
    assert pose.header.frame_id == 'odom'
    place = pose.pose.position
    # The robot looks along odom's y axis.
    assert (place.x, place.y, place.z) == pytest.approx((10, 20.25 + NEAR, 0.5), abs=0.1)


def test_pose_without_a_transform_is_refused_after_tf_timeout(follow: Follow) -> None:
    pytest.importorskip('tf2_ros', reason=NEEDS_TF2)
    talker = follow(
        target_frame_parent='odom', range_mode='size', target_height=HEIGHT, tf_timeout=0.3
    )
    talker.start(camera_info())
    for _ in range(10):
        talker.tracks.publish(track_message(AHEAD, talker.node.get_clock().now().to_msg()))
        talker.spin_for(0.03)
    assert talker.poses == []
    counts = talker.follower.refusals.statistics.counts
    talker.spin(lambda: counts['refused poses'] > 0, 'the refusal')
    problem = talker.follower.refusals.statistics.last_problem
    assert problem.startswith('target_pose refused: no transform within 0.3 s: ')
    assert 'odom' in problem
    # Following continues, and poses are published once there are transforms.
    assert talker.commands
    frames = Frames(talker)
    frames.mount(0.0, 0.0)

    def posed() -> bool:
        talker.tracks.publish(track_message(AHEAD, talker.node.get_clock().now().to_msg()))
        frames.stand(0.0, 0.0, 0.0)
        return bool(talker.poses)

    talker.spin(posed, 'a pose')
