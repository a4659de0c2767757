# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image
from talker import TARGET, Talker, stamp, truth

from hcat_ros.boxes import iou
from hcat_ros.message_data import box_of
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.one_publisher import OnePublisher


def kept(messages: list[tuple[float, int | None]], publishers: int = 2) -> list[bool]:
    """Return for each (time, sequence number) whether the message is accepted."""
    topic = OnePublisher(lambda: publishers)
    return [topic.accepts({'publication_sequence_number': n}, now) for now, n in messages]


def test_consecutive_sequence_numbers_belong_to_one_publisher() -> None:
    mixed = [(0.0, 500), (0.01, 7), (0.03, 501), (0.04, 8), (0.1, 504), (0.11, 9)]
    assert kept(mixed) == [True, False, True, False, True, False]


def test_publisher_with_higher_sequence_numbers_is_rejected_too() -> None:
    assert kept([(0.0, 7), (0.01, 500), (0.03, 8), (0.04, 501)]) == [True, False, True, False]


def test_restarted_publisher_is_accepted() -> None:
    assert kept([(0.0, 500), (0.03, 1), (0.06, 2)], publishers=1) == [True, True, True]
    # The killed publisher stays in the graph for a while.
    again = kept([(0.0, 500), *((0.1 * n, n) for n in range(1, 15))])
    assert again == [True] + [False] * 9 + [True] * 5


def test_messages_without_sequence_numbers_are_all_accepted() -> None:
    assert kept([(0.0, None), (0.01, None)]) == [True, True]


def test_second_camera_on_the_topic_is_ignored_and_reported(
    talk: Callable[..., Talker],
) -> None:
    talker = talk(diagnostics_period=0.2)
    other = talker.node.create_publisher(Image, 'image', 10)
    # Same size and frame: only the publishers' sequence numbers tell them apart.
    strange = image_message(np.zeros((240, 320, 3), np.uint8), 'bgr8')
    strange.header.frame_id = 'front'
    for _ in range(400):
        other.publish(strange)
    talker.start()
    talker.spin(lambda: other.get_subscription_count() > 0, 'the second camera')
    talker.send(0)
    talker.name_target(TARGET)
    for number in range(1, 6):
        talker.send(number)
        strange.header.stamp = stamp(number)
        other.publish(strange)
        talker.spin_for(0.02)
    talker.spin(lambda: len(talker.tracks) == 5, 'tracks of the first')
    assert all(iou(box_of(t), truth(n)) > 0.5 for n, t in enumerate(talker.tracks, 1))
    words = '/image has 2 publishers, /talker, /talker: only one of them is used'
    talker.spin(lambda: words in talker.status().message, 'the warning')
    assert talker.status().level == DiagnosticStatus.WARN
    talker.node.destroy_publisher(other)
    talker.spin(lambda: words not in talker.status().message, 'the end of the warning')
