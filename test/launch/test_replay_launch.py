# SPDX-License-Identifier: Apache-2.0
"""A bag replayed through the node under the real `ros2 launch` and `ros2 bag`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

NEEDS = 'needs ROS 2 with launch, and hcat_ros built by colcon'
pytest.importorskip('launch_ros', reason=NEEDS)
pytest.importorskip('ros2launch', reason=NEEDS)
NEEDS_BAGS = "needs rosbags and mcap (pip install 'hcat_ros[evaluate]')"
pytest.importorskip('rosbags', reason=NEEDS_BAGS)
pytest.importorskip('mcap', reason=NEEDS_BAGS)

from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from launching import PATIENCE, Launch
from rosbags.rosbag2 import StoragePlugin, Writer

from hcat_ros.boxes import Box, iou
from hcat_ros.evaluation.bags.message_types import (
    COMPRESSED,
    DETECTION,
    IMAGE,
    build_message,
    encode_message,
    header,
    typestore,
)
from hcat_ros.evaluation.bags.reading import open_bag
from hcat_ros.message_data import box_of, nanoseconds
from hcat_ros.nodes.tracker.settings import SETTINGS

try:
    get_package_share_path('hcat_ros')
except PackageNotFoundError:
    pytest.skip(f'{NEEDS}: its install folder is not sourced', allow_module_level=True)

FILE = 'replay.launch.py'
FRAMES = 30
PERIOD = 33_333_333
"""Nanoseconds between two frames."""
Start = Callable[..., Launch]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A working folder of the test's own, which replays write to."""
    monkeypatch.chdir(tmp_path)


def truth(number: int) -> Box:
    """Where the square is in frame `number`."""
    return Box(60 + number, 90, 40, 40)


def stamp(number: int) -> int:
    return 1_700_000_000_000_000_000 + number * PERIOD


def image(number: int, kind: str) -> Any:
    """The square on grey ground as a message."""
    pixels = np.full((240, 320, 3), 90, np.uint8)
    x, y = (int(value) for value in truth(number)[:2])
    pixels[y : y + 40, x : x + 40] = (40, 200, 240)
    pixels[y + 10 : y + 30, x + 10 : x + 30] = (200, 30, 60)
    head = header(stamp(number), 'camera')
    if kind == COMPRESSED:
        data = cv2.imencode('.png', pixels)[1].ravel()
        return build_message(COMPRESSED, header=head, format='bgr8; png compressed bgr8', data=data)
    size = {'height': 240, 'width': 320, 'step': 960}
    return build_message(
        IMAGE, header=head, encoding='bgr8', is_bigendian=0, data=pixels.ravel(), **size
    )


def detection(number: int) -> Any:
    """The true box of a frame as a message."""
    box = truth(number)
    position = build_message('vision_msgs/msg/Point2D', x=float(box.cx), y=float(box.cy))
    center = build_message('vision_msgs/msg/Pose2D', position=position, theta=0.0)
    size = {'size_x': float(box.w), 'size_y': float(box.h)}
    bounds = build_message('vision_msgs/msg/BoundingBox2D', center=center, **size)
    return build_message(
        DETECTION, header=header(stamp(number), 'camera'), results=[], bbox=bounds, id=''
    )


def write_bag(path: Path, topic: str, kind: str, init_box: str = '/init_box') -> Path:
    """Write a bag with a second of the square and its true boxes, named on its first frame."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        images = writer.add_connection(topic, kind, typestore=typestore())
        boxes = writer.add_connection('/truth', DETECTION, typestore=typestore())
        for number in range(FRAMES):
            writer.write(images, stamp(number), encode_message(image(number, kind)))
            writer.write(boxes, stamp(number), encode_message(detection(number)))
        if init_box:
            boxes = writer.add_connection(init_box, DETECTION, typestore=typestore())
            writer.write(boxes, stamp(0), encode_message(detection(0)))
    return path


def test_the_arguments_are_listed(launch: Start) -> None:
    listing = launch('--show-args')
    assert listing.end() == 0
    names = {setting.name for setting in SETTINGS} - {'autostart', 'image_transport'}
    for name in ('bag', 'out', 'image', 'rate', 'depth', 'init_box_topic', 'namespace', *names):
        assert f"'{name}':" in listing.log
    for name in ('cameras', 'autostart', 'image_transport'):
        assert f"'{name}':" not in listing.log


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['bag:=nowhere'], "bag:='nowhere': no bag nowhere"),
        (['bag:=bag', 'rate:=0'], "rate:='0': expected a number above 0"),
        (['bag:=bag', 'depth:=many'], "depth:='many': expected a number above 0"),
        (['bag:=bag', 'image:=/front'], 'has no topic /front; it has /camera/image_raw'),
        (['bag:=bag', 'init_box_topic:=/here'], 'has no topic /here'),
        (['bag:=unnamed'], "init_box:='': the bag has no topic init_box"),
        (['bag:=bag', 'out:=done'], "out:='done': it exists already"),
        (['bag:=bag', 'params_file:=none.yaml'], "params_file:='none.yaml': "),
    ],
)
def test_wrong_argument_is_refused_with_a_reason(
    launch: Start, tmp_path: Path, words: list[str], reason: str
) -> None:
    write_bag(tmp_path / 'bag', '/camera/image_raw', IMAGE)
    write_bag(tmp_path / 'unnamed', '/camera/image_raw', IMAGE, init_box='')
    (tmp_path / 'done' / 'recorded').mkdir(parents=True)
    refused = launch(*words)
    assert refused.end() == 1
    assert reason in refused.log
    assert 'process started' not in refused.log


@pytest.mark.parametrize(
    ('topic', 'kind', 'init_box', 'namespace'),
    [
        ('/camera/image_raw', IMAGE, '/init_box', ''),
        ('/camera/image_raw/compressed', COMPRESSED, '/robot/init_box', 'replayed'),
        ('/camera/jpeg', COMPRESSED, '', ''),
    ],
)
def test_every_image_of_the_bag_is_tracked_and_reported(
    launch: Start, tmp_path: Path, topic: str, kind: str, init_box: str, namespace: str
) -> None:
    pytest.importorskip('ros2bag', reason='needs `ros2 bag`')
    write_bag(tmp_path / 'walk', topic, kind, init_box)
    words = [f'namespace:={namespace}'] if namespace else []
    words += [] if init_box else ['init_box:=60,90,40,40']
    running = launch('bag:=walk', 'truth:=/truth', 'engine:=onnxruntime', 'threads:=1', *words)
    assert running.end() == 0, running.log
    assert f'{FRAMES - 1} tracks of {FRAMES} images on {topic}' in running.log
    name = f'/{namespace}/track' if namespace else '/track'
    with open_bag(tmp_path / 'walk_node' / 'recorded') as bag:
        tracks = [message for _, _, message in bag.decode_topic(bag.topics[name])]
    assert [nanoseconds(track.header.stamp) for track in tracks] == [
        stamp(number) for number in range(1, FRAMES)
    ]
    for number, track in enumerate(tracks, 1):
        assert iou(box_of(track), truth(number)) > 0.5
    # The same engine on the same images without ROS.
    assert f'{FRAMES - 1} images have a track in both, boxes differ by at most 0 px' in running.log
    assert (tmp_path / 'walk_node' / 'report.html').is_file()


def test_replay_ends_with_an_error_if_the_tracker_is_not_ready(
    launch: Start, tmp_path: Path
) -> None:
    pytest.importorskip('ros2bag', reason='needs `ros2 bag`')
    write_bag(tmp_path / 'walk', '/camera/image_raw', IMAGE)
    running = launch('bag:=walk', 'model:=no_such_model', 'patience:=6')
    assert running.end() == 1
    assert "no model 'no_such_model'" in running.log
    assert '/hcat_tracker is not ready: it has not subscribed to /camera/image_raw' in running.log


def test_interrupt_ends_the_replay_without_a_report(launch: Start, tmp_path: Path) -> None:
    pytest.importorskip('ros2bag', reason='needs `ros2 bag`')
    write_bag(tmp_path / 'walk', '/camera/image_raw', IMAGE)
    running = launch('bag:=walk', 'engine:=onnxruntime', 'threads:=1')
    deadline = time.monotonic() + PATIENCE
    while '[rosbag2_player]: Sleep' not in running.log and time.monotonic() < deadline:
        time.sleep(0.1)
    running.interrupt()
    assert running.end() == 0, running.log
    assert running.log.count('process has finished cleanly') == 3
    assert 'report' not in running.log
