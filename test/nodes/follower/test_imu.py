# SPDX-License-Identifier: Apache-2.0
"""The platform's rotation as measured by an IMU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from follow_talker import FollowTalker
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Imu

from hcat_ros.nodes.follower.imu import Turning, turning_of


def imu(seconds: float, yaw: float, pitch: float = 0.0, frame: str = 'base_link') -> Imu:
    message = Imu()
    message.header.frame_id = frame
    message.header.stamp.sec = int(seconds)
    message.header.stamp.nanosec = round(seconds % 1 * 1e9)
    message.angular_velocity.y, message.angular_velocity.z = pitch, yaw
    return message


def test_rates_follow_rep_103() -> None:
    assert turning_of(imu(12.5, 0.3, -0.1), '/base_link') == Turning(12.5, 0.3, -0.1)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'frame': 'imu_link'}, "its frame is 'imu_link', expected 'base_link'"),
        ({'yaw': math.nan}, 'angular velocity'),
        ({'yaw': 60.0}, 'at most 50'),
    ],
)
def test_invalid_imu_messages_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        turning_of(imu(**{'seconds': 1.0, 'yaw': 0.0, **changes}), 'base_link')


def test_imu_without_angular_velocity_is_refused() -> None:
    message = imu(1.0, 0.0)
    message.angular_velocity_covariance[0] = -1.0
    with pytest.raises(ValueError, match='no angular velocity'):
        turning_of(message, 'base_link')


@pytest.mark.parametrize('used', [True, False])
def test_follower_uses_the_imu_only_with_use_imu(
    follow: Callable[..., FollowTalker], used: bool
) -> None:
    talker = follow(use_imu=used, start_on_hold=True, diagnostics_period=0.2)
    talker.start()
    publisher = talker.node.create_publisher(Imu, 'imu', QoSProfile(depth=50))
    if used:
        talker.spin(lambda: publisher.get_subscription_count() > 0, 'the subscription')
    now = talker.follower.get_clock().now().nanoseconds / 1e9
    for step in range(11):
        publisher.publish(imu(now - 1 + step / 10, 0.4))
        if step == 5:
            publisher.publish(
                imu(now + 60, 0.0)
            )  # of another clock: must not make the others count as old
    publisher.publish(imu(now, 0.4, frame='camera'))
    if used:
        counts = talker.follower.refusals.statistics.counts
        talker.spin(lambda: counts['refused imu messages'] == 2, 'all of them')
    else:
        talker.spin_for(0.5)
    turned = talker.follower.follower.ego_motion.rotation(now - 0.9, now - 0.1)
    angle = math.atan2(turned[1, 0], turned[0, 0])
    assert angle == pytest.approx(0.4 * 0.8 if used else 0.0, abs=1e-3)
    assert np.linalg.det(turned) == pytest.approx(1.0)
