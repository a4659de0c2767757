# SPDX-License-Identifier: Apache-2.0
"""Several trackers from one launch file under the real `ros2 launch`."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

NEEDS = 'needs ROS 2 with launch, and hcat_ros built by colcon'
pytest.importorskip('launch_ros', reason=NEEDS)
pytest.importorskip('ros2launch', reason=NEEDS)

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from launching import PATIENCE, Launch, grainy, parameters, wait_for_state
from rclpy.node import Node
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import Box, iou
from hcat_ros.nodes.detections import box_of, detection_message
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.tracker.settings import SETTINGS

try:
    get_package_share_path('hcat_ros')
except PackageNotFoundError:
    pytest.skip(f'{NEEDS}: its install folder is not sourced', allow_module_level=True)

FILE = 'multi_camera.launch.py'
Start = Callable[..., Launch]
BOXES = {'front': Box(60, 90, 40, 40), 'back': Box(200, 40, 40, 40)}


def picture(box: Box) -> np.ndarray:
    """A square at the box, BGR."""
    frame = np.full((240, 320, 3), 90, np.uint8)
    x, y = int(box.x), int(box.y)
    frame[y : y + 40, x : x + 40] = (40, 200, 240)
    frame[y + 10 : y + 30, x + 10 : x + 30] = (200, 30, 60)
    return frame


@pytest.mark.parametrize('processes', ['each', 'one'])
def test_each_camera_is_tracked_in_its_namespace(
    launch: Start, viewer: Node, processes: str
) -> None:
    tracks: dict[str, list[Detection2D]] = {name: [] for name in BOXES}
    topics = {'front': '/front/image_raw', 'back': '/usb_cam/image_raw'}
    images = {name: viewer.create_publisher(Image, topic, 5) for name, topic in topics.items()}
    boxes = {name: viewer.create_publisher(Detection2D, f'/{name}/init_box', 5) for name in BOXES}
    for name in BOXES:
        viewer.create_subscription(Detection2D, f'/{name}/track', tracks[name].append, 50)
    running = launch(
        'cameras:=front, back=/usb_cam/image_raw',
        'engine:=onnxruntime',
        'threads:=1',
        f'processes:={processes}',
    )
    try:
        for name in BOXES:
            wait_for_state(viewer, f'/{name}/hcat_tracker', 'active', running)
            threads = parameters(viewer, f'/{name}/hcat_tracker', 'threads')
            assert threads[0].integer_value == 1, 'arguments reach both'
        header = Detection2D().header
        number = 0
        deadline = time.monotonic() + PATIENCE
        while min(map(len, tracks.values())) < 5 and time.monotonic() < deadline:
            for name, publisher in images.items():
                message = image_message(grainy(picture(BOXES[name]), number), 'bgr8')
                message.header.frame_id = name
                message.header.stamp.sec = number
                publisher.publish(message)
                if not tracks[name] and number % 10 == 5:
                    boxes[name].publish(detection_message(header, BOXES[name]))
            number += 1
            rclpy.spin_once(viewer, timeout_sec=0.05)
        for name, box in BOXES.items():
            assert len(tracks[name]) >= 5, running.log
            for track in tracks[name]:
                assert track.header.frame_id == name
                assert iou(box_of(track), box) > 0.5
        running.interrupt()
        assert running.end() == 0
        assert running.log.count('process has finished cleanly') == (1 if processes == 'one' else 2)
        assert 'Traceback' not in running.log
    finally:
        running.kill()


def test_the_arguments_are_listed(launch: Start) -> None:
    listing = launch('--show-args')
    assert listing.end() == 0
    for name in ('cameras', 'image', 'processes', *(setting.name for setting in SETTINGS)):
        assert f"'{name}':" in listing.log
    assert "'namespace':" not in listing.log


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['cameras:=front,'], 'a name is missing'),
        (['cameras:==/image'], 'a name is missing'),
        (['cameras:=front,front=/b'], "'front' appears twice"),
        (['cameras:=front', 'processes:=2'], "processes:='2': expected one or each"),
    ],
)
def test_wrong_argument_is_refused_with_a_reason(
    launch: Start, words: list[str], reason: str
) -> None:
    refused = launch(*words)
    assert refused.end() == 1
    assert reason in refused.log
    assert 'process started' not in refused.log
