# SPDX-License-Identifier: Apache-2.0
"""Two trackers in one launch, as `launch_testing` runs it: up, tracking, down.

Besides pytest, `launch_test test/launch/test_bring_up.py` runs it.
"""

from __future__ import annotations

import os
import tempfile
import time
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest

NEEDS = 'needs ROS 2 with launch and launch_testing'
# Not `launch`: without ROS's package, our own folder of that name would be imported.
pytest.importorskip('launch_testing', reason=NEEDS)
pytest.importorskip('launch_ros', reason=NEEDS)

import launch_testing
import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing.actions import ReadyToTest
from launch_testing.asserts import assertExitCodes
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import Box, iou
from hcat_ros.nodes.detections import box_of, detection_message
from hcat_ros.nodes.images import compressed_message, image_message

try:
    SHARE = get_package_share_path('hcat_ros')
except PackageNotFoundError:
    SHARE = None

PATIENCE = 60.0
"""Seconds for anything to happen; a busy machine is slow."""
ARGUMENTS = {
    'front': {'image': '/camera/image_raw', 'window_penalty': '0.25', 'class_id': 'runner'},
    'back': {'image_transport': 'compressed', 'size_smoothing': '1', 'class_id': 'car'},
}
"""Launch arguments of each tracker, by its namespace."""
STARTS = {'front': Box(60, 90, 40, 40), 'back': Box(200, 40, 40, 40)}
STEPS = {'front': 1, 'back': -1}
"""Pixels to the right from frame to frame."""


@pytest.mark.launch_test
@pytest.mark.skipif(SHARE is None, reason='needs hcat_ros built by colcon and sourced')
def generate_test_description() -> tuple[LaunchDescription, dict[str, Any]]:
    """Return a launch of two trackers, in a domain that nobody else sees."""
    logs = tempfile.TemporaryDirectory()
    environment = {
        'ROS_LOG_DIR': logs.name,
    }
    source = PythonLaunchDescriptionSource(str(SHARE / 'launch' / 'tracker.launch.py'))
    trackers = [
        # Each in a group, so that the arguments of one do not become those of the other.
        GroupAction(
            [
                *(SetEnvironmentVariable(*variable) for variable in environment.items()),
                IncludeLaunchDescription(
                    source,
                    launch_arguments={
                        'namespace': namespace,
                        'engine': 'onnxruntime',
                        'threads': '1',
                        **arguments,
                    }.items(),
                ),
            ]
        )
        for namespace, arguments in ARGUMENTS.items()
    ]
    context = {'environment': environment, 'logs': logs}
    return LaunchDescription([*trackers, ReadyToTest()]), context


def truth(namespace: str, number: int) -> Box:
    """Where the square is in frame `number`."""
    start = STARTS[namespace]
    return Box(start.x + number * STEPS[namespace], start.y, start.w, start.h)


def frame(namespace: str, number: int) -> np.ndarray:
    """The square on grey ground, BGR."""
    image = np.full((240, 320, 3), 90, np.uint8)
    x, y = (int(value) for value in truth(namespace, number)[:2])
    image[y : y + 40, x : x + 40] = (40, 200, 240)
    image[y + 10 : y + 30, x + 10 : x + 30] = (200, 30, 60)
    return image


class TestTrackers(unittest.TestCase):
    """Checks while the trackers run."""

    @classmethod
    def setUpClass(cls, environment: dict[str, str]) -> None:
        """Create a node in the same domain that observes the trackers."""
        patch = mock.patch.dict(os.environ, environment)
        patch.start()
        cls.addClassCleanup(patch.stop)
        cls.context = rclpy.Context()
        rclpy.init(context=cls.context)
        cls.addClassCleanup(rclpy.try_shutdown, context=cls.context)
        cls.node = rclpy.create_node('viewer', context=cls.context)
        cls.executor = SingleThreadedExecutor(context=cls.context)
        cls.executor.add_node(cls.node)
        cls.addClassCleanup(cls.node.destroy_node)

    def spin(self, until: Callable[[], bool], what: str) -> None:
        """Spin until a condition holds; fail with its description if it does not in time."""
        deadline = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < deadline, f'in {PATIENCE:g} s not seen: {what}'
            self.executor.spin_once(timeout_sec=0.05)

    def ask(self, service: Any, name: str, request: Any) -> Any:
        """Return the answer of a node's service."""
        client = self.node.create_client(service, name)
        self.addCleanup(self.node.destroy_client, client)
        self.spin(client.service_is_ready, name)
        future = client.call_async(request)
        self.spin(future.done, f'answer of {name}')
        return future.result()

    def wait_until_active(self, namespace: str) -> None:
        """Ask for the lifecycle state until it is active."""
        name = f'/{namespace}/hcat_tracker/get_state'

        def active() -> bool:
            return self.ask(GetState, name, GetState.Request()).current_state.label == 'active'

        self.spin(active, f'{namespace} active')

    def test_each_tracker_becomes_active_by_itself(self) -> None:
        for namespace in ARGUMENTS:
            self.wait_until_active(namespace)

    def test_launch_arguments_are_the_parameters_of_their_own_node(self) -> None:
        names = ['window_penalty', 'size_smoothing', 'class_id', 'image_transport', 'threads']
        found = {}
        for namespace in ARGUMENTS:
            self.wait_until_active(namespace)  # until then the model card's values are not loaded
            name = f'/{namespace}/hcat_tracker/get_parameters'
            answer = self.ask(GetParameters, name, GetParameters.Request(names=names))
            found[namespace] = dict(zip(names, answer.values))
        front, back = found['front'], found['back']
        assert front['window_penalty'].double_value == 0.25
        assert back['size_smoothing'].double_value == 1.0
        assert back['window_penalty'].double_value != 0.25
        assert front['size_smoothing'].double_value != 1.0
        assert front['class_id'].string_value == 'runner'
        assert back['class_id'].string_value == 'car'
        assert front['image_transport'].string_value == 'raw'
        assert back['image_transport'].string_value == 'compressed'
        assert [values['threads'].integer_value for values in found.values()] == [1, 1]

    def test_a_moving_target_is_followed_in_each_namespace(self) -> None:
        tracks: dict[str, list[Detection2D]] = {name: [] for name in ARGUMENTS}
        images, boxes = {}, {}
        for name, arguments in ARGUMENTS.items():
            self.wait_until_active(name)
            topic = arguments.get('image', f'/{name}/image')
            kind = Image
            if arguments.get('image_transport') == 'compressed':
                kind, topic = CompressedImage, f'{topic}/compressed'
            images[name] = self.node.create_publisher(kind, topic, 5)
            boxes[name] = self.node.create_publisher(Detection2D, f'/{name}/init_box', 5)
            self.node.create_subscription(Detection2D, f'/{name}/track', tracks[name].append, 50)
        publishers = (*images.values(), *boxes.values())
        self.spin(lambda: all(p.get_subscription_count() > 0 for p in publishers), 'subscriptions')

        number = 0
        deadline = time.monotonic() + PATIENCE
        while min(map(len, tracks.values())) < 10 and time.monotonic() < deadline:
            for name in ARGUMENTS:
                picture = frame(name, number)
                message = (
                    image_message(picture, 'bgr8')
                    if name == 'front'
                    else compressed_message(picture, 95)
                )
                message.header.frame_id = name
                message.header.stamp.sec = 1000 + number
                images[name].publish(message)
                if not tracks[name]:  # an image may get lost: its box is then refused
                    boxes[name].publish(detection_message(message.header, truth(name, number)))
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                self.executor.spin_once(timeout_sec=0.02)
            number = min(number + 1, 60)  # then it stands still: the frame is 320 pixels wide

        for name, arguments in ARGUMENTS.items():
            assert len(tracks[name]) >= 10, f'tracks of {name}'
            for track in tracks[name]:
                assert track.header.frame_id == name
                assert track.results[0].hypothesis.class_id == arguments['class_id']
                expected = truth(name, track.header.stamp.sec - 1000)
                assert iou(box_of(track), expected) > 0.5, f'{name} at {track.header}'


@launch_testing.post_shutdown_test()
class TestShutdown(unittest.TestCase):
    """Checks after the trackers have ended."""

    def test_both_trackers_end_cleanly(self, proc_info: Any) -> None:
        names = [name for name in proc_info.process_names() if 'tracker_node' in name]
        assert len(names) == 2
        assertExitCodes(proc_info)

    def test_output_has_no_traceback(self, proc_output: Any) -> None:
        for line in proc_output:
            assert b'Traceback' not in line.text
