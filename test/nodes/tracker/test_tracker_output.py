# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from sensor_msgs.msg import CameraInfo
from talker import Talker

from hcat_ros.nodes.qos import LATCHED_QOS


def test_image_size_is_published_on_track_view(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    for number in range(3):
        talker.send(number)
    views: list[CameraInfo] = []
    # The topic is latched: a later subscriber receives the message too.
    talker.node.create_subscription(CameraInfo, 'track_view', views.append, LATCHED_QOS)
    talker.spin(lambda: bool(views), 'the view')
    talker.spin_for(0.2)
    found = [(view.width, view.height, view.header.frame_id, any(view.k)) for view in views]
    assert found == [(320, 240, 'front', False)]


def test_track_view_is_in_the_node_namespace(talk: Callable[..., Talker]) -> None:
    talker = talk(namespace='robot1')
    talker.start()
    talker.send(0)
    views: list[CameraInfo] = []
    talker.node.create_subscription(CameraInfo, 'track_view', views.append, LATCHED_QOS)
    talker.spin(lambda: bool(views), 'the view in the namespace')
