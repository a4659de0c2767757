# SPDX-License-Identifier: Apache-2.0
"""Images of a video file, published at the times that the file gives."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from hcat_ros.frames import Frame
from hcat_ros.nodes.tools.video_source import VideoSource

TIMES = [0.0, 0.05, 0.1, 0.15, 0.2, 0.6, 1.0, 1.4]
"""Times of the frames of a phone's video, s: in the dark its rate falls from 20 to 2.5 fps."""


@pytest.fixture
def ros() -> Iterator[None]:
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def video(tmp_path: Path) -> str:
    path = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 20.0, (64, 48))
    for _ in TIMES:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    return str(path)


def play(given: list[Parameter], on_image: Callable[[Image], None]) -> None:
    """Play a video to a viewer until as many images as TIMES have arrived, or for 60 s."""
    count = 0

    def receive(image: Image) -> None:
        nonlocal count
        count += 1
        on_image(image)

    viewer = rclpy.create_node('viewer')
    viewer.create_subscription(Image, 'image', receive, QoSProfile(depth=20))
    source = VideoSource(parameter_overrides=given)
    executor = SingleThreadedExecutor()
    for node in (viewer, source):
        executor.add_node(node)
    deadline = time.monotonic() + 60
    while count < len(TIMES) and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    for node in (viewer, source):
        node.destroy_node()


def test_frames_are_published_at_their_own_times(
    ros: None, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV cannot write a varying frame rate, so the test replaces the times that are read."""

    def frames(source: Any) -> Iterator[Frame]:
        for index, stamp in enumerate(TIMES):
            yield Frame(index, stamp, np.zeros((48, 64, 3), np.uint8))

    monkeypatch.setattr('hcat_ros.frames.FrameSource.__iter__', frames)
    came: list[float] = []
    play([Parameter('source', value=video)], lambda image: came.append(time.monotonic()))
    assert len(came) == len(TIMES)
    # Never early; late by what a busy machine adds.
    times = np.array(came) - came[0]
    assert (times - np.array(TIMES) > -0.04).all(), times
    assert np.median(times - np.array(TIMES)) < 0.2, times


def test_camera_info_is_published_with_the_images(ros: None, video: str) -> None:
    images: list[Image] = []
    infos: list[CameraInfo] = []
    viewer = rclpy.create_node('viewer')
    viewer.create_subscription(Image, 'image', images.append, QoSProfile(depth=20))
    viewer.create_subscription(CameraInfo, 'camera_info', infos.append, QoSProfile(depth=20))
    given = [Parameter('source', value=video), Parameter('horizontal_fov', value=math.pi / 2)]
    source = VideoSource(parameter_overrides=given)
    executor = SingleThreadedExecutor()
    for node in (viewer, source):
        executor.add_node(node)
    deadline = time.monotonic() + 60
    while not (images and infos) and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    for node in (viewer, source):
        node.destroy_node()
    assert infos[0].header == images[0].header
    assert (infos[0].width, infos[0].height) == (64, 48)
    assert infos[0].k[0] == pytest.approx(32.0)


def test_images_are_published_even_if_the_ros_clock_stands_still(ros: None, video: str) -> None:
    """Simulated time that stands still blocks timers, as a system clock that is set back does."""
    images: list[Image] = []
    given = [Parameter('source', value=video), Parameter('use_sim_time', value=True)]
    play(given, images.append)
    assert len(images) == len(TIMES)
    assert {(image.header.stamp.sec, image.header.stamp.nanosec) for image in images} == {(0, 0)}
