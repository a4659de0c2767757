# SPDX-License-Identifier: Apache-2.0
"""Signs, frames and covariances of the messages that the follower publishes."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from follow_talker import angles
from geometry_msgs.msg import Twist, TwistStamped
from std_msgs.msg import Header

from hcat_ros.following import Bearing, Command, Range
from hcat_ros.nodes.follower.messages import (
    bearing_message,
    body_frame,
    command_message,
    covariant_pose_message,
    marker_message,
    pose_message,
    seen_from_camera,
    transform_message,
)

COVARIANCE = np.diag([0.04, 0.01, 1.0, 1.0])
COVARIANCE[0, 1] = COVARIANCE[1, 0] = 0.005


def rotation(x: float, y: float, z: float, w: float) -> np.ndarray:
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@pytest.mark.parametrize(
    ('azimuth', 'elevation'), [(0.0, 0.0), (0.7, 0.0), (-0.7, 0.3), (2.5, -0.9), (0.0, 1.2)]
)
@pytest.mark.parametrize('pitch', [0.0, 0.4, -0.8])
def test_pose_x_axis_points_at_the_target(azimuth: float, elevation: float, pitch: float) -> None:
    bearing = Bearing(0.0, azimuth, elevation, 0.0, 0.0, COVARIANCE)
    pose = pose_message(bearing, 5.0, Header(), pitch).pose
    q = pose.orientation
    turn = rotation(q.x, q.y, q.z, q.w)
    assert turn.T @ turn == pytest.approx(np.eye(3), abs=1e-12)
    position = np.array([pose.position.x, pose.position.y, pose.position.z])
    assert 5.0 * turn[:, 0] == pytest.approx(position, abs=1e-9)
    assert turn[2, 1] == pytest.approx(0, abs=1e-12), 'no roll'
    # Rotated back into the mount's frame, the position lies on the bearing.
    c, s = math.cos(pitch), math.sin(pitch)
    mount = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ position / 5.0
    assert math.atan2(mount[1], mount[0]) == pytest.approx(azimuth)
    assert math.asin(mount[2]) == pytest.approx(elevation)
    same = bearing_message(bearing, Header(), pitch).pose.pose
    assert same.orientation == q


def test_bearing_covariance_is_about_y_and_z_with_negated_elevation() -> None:
    bearing = Bearing(0.0, 0.3, 0.2, 0.0, 0.0, COVARIANCE)
    covariance = bearing_message(bearing, Header(), 0.0).pose.covariance.reshape(6, 6)
    expected = np.zeros((6, 6))
    expected[5, 5], expected[4, 4] = 0.04, 0.01
    expected[4, 5] = expected[5, 4] = -0.005
    assert covariance == pytest.approx(expected, abs=1e-6)


def test_bearing_covariance_rotates_with_camera_pitch() -> None:
    bearing = Bearing(0.0, 0.4, -0.3, 0.0, 0.0, COVARIANCE)
    covariance = bearing_message(bearing, Header(), 0.6).pose.covariance.reshape(6, 6)
    rng = np.random.default_rng(3)
    spread = rng.multivariate_normal([0.4, -0.3], COVARIANCE[:2, :2] * 1e-4, 20000)
    seen = np.array([seen_from_camera(a, e, 0.6) for a, e in spread])
    measured = np.cov(seen.T) * 1e4
    assert covariance[5, 5] == pytest.approx(measured[0, 0], rel=0.05)
    assert covariance[4, 4] == pytest.approx(measured[1, 1], rel=0.05)
    assert covariance[4, 5] == pytest.approx(-measured[0, 1], rel=0.05, abs=2e-4)


def test_target_on_the_axis_of_a_pitched_camera_has_zero_bearing() -> None:
    assert seen_from_camera(0.0, -0.5, 0.5) == pytest.approx((0, 0))
    assert seen_from_camera(0.0, 0.0, 0.5) == pytest.approx((0, 0.5))


@pytest.mark.parametrize(
    ('frame', 'body', 'doubt'),
    [
        ('camera_color_optical_frame', 'camera_color_frame', ''),
        ('/camera_link_optical', 'camera_link', ''),
        (
            'front_camera',
            'front_camera',
            "'front_camera' has no _optical in it",
        ),
        ('/camera', 'camera', 'with x forward'),
        ('', 'base_link', "no frame_id: target_bearing and target_pose are in 'base_link'"),
    ],
)
def test_body_frame_of_a_camera_frame_and_its_warning(frame: str, body: str, doubt: str) -> None:
    found, why = body_frame(frame, 'base_link')
    assert found == body
    assert doubt in why if doubt else not why


def test_a_command_is_a_twist_in_the_body_frame() -> None:
    command = Command(forward=1, left=2.0, up=3.0, yaw_rate=4.0, pitch_rate=-5.0)
    header = Header(frame_id='base_link')
    stamped, plain = command_message(command, header, True), command_message(command, header, False)
    assert isinstance(stamped, TwistStamped)
    assert isinstance(plain, Twist)
    assert stamped.twist == plain
    assert stamped.header.frame_id == 'base_link'
    assert (plain.linear.x, plain.linear.y, plain.linear.z) == (1.0, 2.0, 3.0)
    assert (plain.angular.x, plain.angular.y, plain.angular.z) == (0.0, -5.0, 4.0)


@pytest.mark.parametrize('name', ['forward', 'left', 'up', 'yaw_rate', 'pitch_rate'])
@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_non_finite_command_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=str(value)):
        command_message(Command(**{name: value}), Header(), True)


def test_upward_bearing_has_negative_pitch() -> None:
    bearing = Bearing(0.0, 0.5, 0.2, 0.0, 0.0, COVARIANCE)
    yaw, pitch = angles(bearing_message(bearing, Header(), 0.0).pose.pose.orientation)
    assert (yaw, pitch) == pytest.approx((0.5, -0.2)), 'up is a negative pitch'


@pytest.mark.parametrize('pitch', [0.0, 0.4])
@pytest.mark.parametrize(('azimuth', 'elevation'), [(0.0, 0.0), (0.6, -0.3), (-1.2, 0.5)])
def test_position_covariance_matches_samples(
    azimuth: float, elevation: float, pitch: float
) -> None:
    angular = np.zeros((4, 4))
    angular[:2, :2] = [[4e-4, 5e-5], [5e-5, 1e-4]]
    bearing = Bearing(0.0, azimuth, elevation, 0.0, 0.0, angular)
    distance = Range(0.0, 5.0, 0.0, 0.1, 1.0)
    message = covariant_pose_message(bearing, distance, Header(frame_id='camera'), pitch)
    found = np.reshape(message.pose.covariance, (6, 6))
    rng = np.random.default_rng(0)
    drawn = rng.multivariate_normal([azimuth, elevation], angular[:2, :2], 20_000)
    ranges = rng.normal(5.0, 0.1, len(drawn))
    points = [
        r * np.array([math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)])
        for (a, e), r in zip((seen_from_camera(a, e, pitch) for a, e in drawn), ranges)
    ]
    assert found[:3, :3] == pytest.approx(np.cov(np.transpose(points)), abs=6e-4)
    assert not found[3:].any()
    place = message.pose.pose.position
    assert [place.x, place.y, place.z] == pytest.approx(np.mean(points, axis=0), abs=0.02)


def test_optical_frame_pose_has_z_forward() -> None:
    """A target ahead, to the left and above: negative x, negative y, positive z."""
    bearing = Bearing(0.0, 0.3, 0.2, 0.0, 0.0, np.diag([1e-4, 4e-4, 1.0, 1.0]))
    distance = Range(0.0, 5.0, 0.0, 0.1, 1.0)
    body, optical = (
        covariant_pose_message(bearing, distance, Header(frame_id=frame), 0.0).pose
        for frame in ('camera', 'camera_optical_frame')
    )
    at, seen = body.pose.position, optical.pose.position
    assert (seen.x, seen.y, seen.z) == (-at.y, -at.z, at.x)
    assert seen.x < 0
    assert seen.y < 0
    full, turned = (np.reshape(pose.covariance, (6, 6)) for pose in (body, optical))
    assert [turned[0, 0], turned[1, 1], turned[2, 2]] == pytest.approx(
        [full[1, 1], full[2, 2], full[0, 0]]
    )
    q = optical.pose.orientation
    away = rotation(q.x, q.y, q.z, q.w) @ [0.0, 0.0, 1.0]
    assert 5 * away == pytest.approx([seen.x, seen.y, seen.z])


def test_transform_equals_the_pose() -> None:
    bearing = Bearing(0.0, 0.3, 0.2, 0.0, 0.0, COVARIANCE)
    pose = pose_message(bearing, 5.0, Header(frame_id='camera'), 0.0)
    (transform,) = transform_message(pose, 'target').transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ('camera', 'target')
    place, position = transform.transform.translation, pose.pose.position
    assert (place.x, place.y, place.z) == (position.x, position.y, position.z)
    assert transform.transform.rotation == pose.pose.orientation


def test_marker_has_the_target_size_and_expires() -> None:
    pose = pose_message(Bearing(0.0, 0.0, 0.0, 0.0, 0.0, COVARIANCE), 5.0, Header(), 0.0)
    body, label = marker_message(pose, (0.5, 1.8), 'a-1 5.0 m').markers
    assert (body.scale.x, body.scale.y, body.scale.z) == (0.5, 0.5, 1.8)
    assert body.pose.position.x == label.pose.position.x == 5.0
    assert label.pose.position.z > 0.9
    assert label.text == 'a-1 5.0 m'
    assert body.id != label.id
    assert 0 < body.lifetime.nanosec < 10**9
