# SPDX-License-Identifier: Apache-2.0
"""The nodes on Humble, whose rclpy passes only the message to a subscription's callback."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from rclpy.qos import DurabilityPolicy, QoSProfile
from talker import TARGET, Talker, scene, stamp, truth
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import Box, iou
from hcat_ros.message_data import box_of
from hcat_ros.nodes import message_info
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.message_info import time_in_queue, with_info

if TYPE_CHECKING:
    from follow_talker import FollowTalker

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def humble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_info, 'HAS_INFO', False)


def test_message_info_is_empty_on_humble(humble: None) -> None:
    found: list[tuple[Any, Mapping[str, Any]]] = []
    with_info(lambda message, info: found.append((message, info)))('message')
    assert found == [('message', {})]


def test_queue_time_of_a_message_is_measured(talk: Callable[..., Talker]) -> None:
    talker = talk()
    waited: list[float] = []
    talker.node.create_subscription(
        Detection2D, 'init_box', lambda _, info: waited.append(time_in_queue(info)), 10
    )
    talker.spin(lambda: talker.boxes.get_subscription_count() > 0, 'a connection')
    talker.boxes.publish(Detection2D())
    time.sleep(0.4)
    talker.spin(lambda: bool(waited), 'the message')
    assert 0.3 < waited[0] < 5
    assert time_in_queue({}) == time_in_queue({'received_timestamp': 0}) == 0
    ahead = {'received_timestamp': time.time_ns() + 10**12}
    assert time_in_queue(ahead) == 0, 'the clock was set back meanwhile'


def test_tracker_works_without_message_info(humble: None, talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    for number in range(4):
        talker.send(number)
        if number == 0:
            talker.name_target(TARGET)
    talker.spin(lambda: len(talker.tracks) >= 1, 'tracks')
    last = talker.tracks[-1]
    number = next(n for n in range(4) if stamp(n) == last.header.stamp)
    assert iou(box_of(last), truth(number)) > 0.5
    assert talker.tracker.refusals.statistics.counts['images'] > 0
    assert scene(0).shape


def test_latched_init_box_starts_one_target(humble: None, talk: Callable[..., Talker]) -> None:
    talker = talk()
    latched = talker.node.create_publisher(Detection2D, 'init_box', LATCHED)
    talker.start()
    talker.send(0)
    # The volatile and the latched subscription both receive the message.
    talker.spin(lambda: latched.get_subscription_count() == 2, 'both subscriptions')
    latched.publish(detection_message(Detection2D().header, TARGET))
    talker.spin(lambda: talker.tracker.session.has_target, 'the target')
    talker.spin_for(0.5)
    assert talker.tracker.session.target_id.endswith('-1')


def test_follower_works_without_message_info(
    humble: None, follow: Callable[..., FollowTalker]
) -> None:
    talker = follow()
    talker.start()
    assert talker.follow(Box(60.0, 200.0, 80.0, 80.0), 'yaw') > 0
