# SPDX-License-Identifier: Apache-2.0
"""Signs, frames and covariances of what the follower publishes."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from follow_talker import angles
from geometry_msgs.msg import Twist, TwistStamped
from std_msgs.msg import Header

from hcat_ros.following import Bearing, Command
from hcat_ros.nodes.follower.messages import (
    bearing_message,
    body_frame,
    command_message,
    pose_message,
    seen_from_camera,
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
def test_the_x_axis_points_at_the_target(azimuth: float, elevation: float, pitch: float) -> None:
    bearing = Bearing(0.0, azimuth, elevation, 0.0, 0.0, COVARIANCE)
    pose = pose_message(bearing, 5.0, Header(), pitch).pose
    q = pose.orientation
    turn = rotation(q.x, q.y, q.z, q.w)
    assert turn.T @ turn == pytest.approx(np.eye(3), abs=1e-12)
    position = np.array([pose.position.x, pose.position.y, pose.position.z])
    assert 5.0 * turn[:, 0] == pytest.approx(position, abs=1e-9)
    assert turn[2, 1] == pytest.approx(0, abs=1e-12), 'no roll'
    # Back in the mount's frame it is where the bearing says.
    c, s = math.cos(pitch), math.sin(pitch)
    mount = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ position / 5.0
    assert math.atan2(mount[1], mount[0]) == pytest.approx(azimuth)
    assert math.asin(mount[2]) == pytest.approx(elevation)
    same = bearing_message(bearing, Header(), pitch).pose.pose
    assert same.orientation == q


def test_the_covariance_is_about_y_and_z_with_the_elevation_turned_over() -> None:
    bearing = Bearing(0.0, 0.3, 0.2, 0.0, 0.0, COVARIANCE)
    covariance = bearing_message(bearing, Header(), 0.0).pose.covariance.reshape(6, 6)
    expected = np.zeros((6, 6))
    expected[5, 5], expected[4, 4] = 0.04, 0.01
    expected[4, 5] = expected[5, 4] = -0.005
    assert covariance == pytest.approx(expected, abs=1e-6)


def test_the_covariance_turns_with_the_camera() -> None:
    bearing = Bearing(0.0, 0.4, -0.3, 0.0, 0.0, COVARIANCE)
    covariance = bearing_message(bearing, Header(), 0.6).pose.covariance.reshape(6, 6)
    rng = np.random.default_rng(3)
    spread = rng.multivariate_normal([0.4, -0.3], COVARIANCE[:2, :2] * 1e-4, 20000)
    seen = np.array([seen_from_camera(a, e, 0.6) for a, e in spread])
    measured = np.cov(seen.T) * 1e4
    assert covariance[5, 5] == pytest.approx(measured[0, 0], rel=0.05)
    assert covariance[4, 4] == pytest.approx(measured[1, 1], rel=0.05)
    assert covariance[4, 5] == pytest.approx(-measured[0, 1], rel=0.05, abs=2e-4)


def test_what_lies_on_the_axis_of_a_camera_that_looks_down_is_in_its_middle() -> None:
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
def test_the_body_frame_of_a_camera_and_what_is_in_doubt(frame: str, body: str, doubt: str) -> None:
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
def test_what_is_no_number_is_no_command(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=str(value)):
        command_message(Command(**{name: value}), Header(), True)


def test_angles_of_a_plain_turn() -> None:
    bearing = Bearing(0.0, 0.5, 0.2, 0.0, 0.0, COVARIANCE)
    yaw, pitch = angles(bearing_message(bearing, Header(), 0.0).pose.pose.orientation)
    assert (yaw, pitch) == pytest.approx((0.5, -0.2)), 'up is a negative pitch'
