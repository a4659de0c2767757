# SPDX-License-Identifier: Apache-2.0
"""Two trackers side by side, each with its own camera, over real DDS."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('onnxruntime', reason='an engine runs here')

from std_srvs.srv import Trigger
from talker import TARGET, Talker, scene, stamp, truth

from hcat_ros.boxes import Box, iou
from hcat_ros.message_data import box_of
from hcat_ros.nodes.images import image_message

WIDTH = 320


def mirrored(box: Box) -> Box:
    """Return the box in the horizontally mirrored image."""
    return Box(WIDTH - box.x - box.w, box.y, box.w, box.h)


def test_trackers_in_two_namespaces_are_independent(ros: None) -> None:
    front, back = Talker(namespace='front'), Talker(namespace='back')
    try:
        front.start()
        back.start()
        # The back camera sees the mirrored scene, one frame ahead.
        for number in range(6):
            front.send_message(image_message(scene(number), 'bgr8'), stamp(number), 'front')
            picture = np.ascontiguousarray(scene(number + 1)[:, ::-1])
            back.send_message(image_message(picture, 'bgr8'), stamp(number + 100), 'back')
            if number == 0:
                front.name_target(TARGET)
                back.name_target(mirrored(truth(1)))
        front.spin(lambda: len(front.tracks) == 5, '5 tracks of the front')
        back.spin(lambda: len(back.tracks) == 5, '5 tracks of the back')
        front.spin_for(0.2)
        for number in range(1, 6):
            track, mirror = front.tracks[number - 1], back.tracks[number - 1]
            assert (track.header.frame_id, mirror.header.frame_id) == ('front', 'back')
            assert track.header.stamp == stamp(number)
            assert mirror.header.stamp == stamp(number + 100)
            assert iou(box_of(track), truth(number)) > 0.5
            assert iou(box_of(mirror), mirrored(truth(number + 1))) > 0.5
        assert front.images_seen() == back.images_seen() == 6
        # A reset of one tracker does not affect the other.
        front.call(front.reset_client, Trigger.Request())
        assert not front.tracker.session.has_target
        assert back.tracker.session.has_target
    finally:
        front.close()
        back.close()
