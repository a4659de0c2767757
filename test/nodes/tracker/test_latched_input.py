# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from talker import TARGET, Talker
from vision_msgs.msg import Detection2D

from hcat_ros.nodes.detections import detection_message

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_latched_init_box_published_before_activation_is_used_once(
    talk: Callable[..., Talker],
) -> None:
    talker = talk()
    latched = talker.node.create_publisher(Detection2D, 'init_box', LATCHED)
    latched.publish(detection_message(Detection2D().header, TARGET))
    talker.start()
    talker.send(0)
    talker.spin(lambda: talker.tracker.session.has_target, 'the target')
    first = talker.tracker.session.target_id
    for number in range(1, 4):
        talker.send(number)
        talker.spin_for(0.3)
    assert talker.tracker.session.target_id == first
    # Later messages arrive over both subscriptions and are used once.
    latched.publish(detection_message(Detection2D().header, TARGET))
    talker.spin(lambda: talker.tracker.session.target_id != first, 'the next target')
    talker.spin_for(0.5)
    assert int(talker.tracker.session.target_id.rpartition('-')[2]) == (
        int(first.rpartition('-')[2]) + 1
    )


def test_volatile_publishers_cause_no_qos_warning(
    talk: Callable[..., Talker], capfd: pytest.CaptureFixture[str]
) -> None:
    talker = talk()
    talker.start()
    talker.spin_for(1.2)
    assert 'incompatible QoS' not in capfd.readouterr().err


def test_durability_can_be_overridden(talk: Callable[..., Talker]) -> None:
    tracker = talk(**{'qos_overrides./track.publisher.durability': 'transient_local'}).tracker
    tracker.start()
    infos = tracker.get_publishers_info_by_topic('/track')
    assert [info.qos_profile.durability for info in infos] == [DurabilityPolicy.TRANSIENT_LOCAL]
    assert rclpy.ok()
