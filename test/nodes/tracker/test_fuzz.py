# SPDX-License-Identifier: Apache-2.0
"""Malformed messages, parameters and requests never end the node.

Together with `test_fuzz_bytes.py` there are more than 20 000. They go straight into the callbacks
of the node's real subscriptions and services, where an exception fails the test at once.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from builtin_interfaces.msg import Time
from fuzzing import HEIGHT, WIDTH, deliver, service_callback
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import Image
from talker import TARGET, Talker, scene
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.tracker.settings import SETTINGS
from hcat_ros.tracking.encodings import ENCODINGS

HYPOTHESIS = {'images': 1500, 'boxes': 1000, 'parameters': 700, 'transitions': 500}


def many(examples: int) -> Callable[[Any], Any]:
    """Return Hypothesis settings for this number of examples."""
    return settings(max_examples=examples, suppress_health_check=list(HealthCheck))


WHOLE = st.integers(0, 2**32 - 1) | st.integers(0, 40)
REAL = st.floats() | st.sampled_from([0.0, 1e308, -1e308, 5e-324]) | st.floats(-50, 50)
TEXT = st.text(max_size=8) | st.sampled_from([*ENCODINGS, '16UC1', '32FC1', '\x00', 'a' * 5000])
STAMPS = st.builds(Time, sec=st.integers(-(2**31), 2**31 - 1), nanosec=WHOLE)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Return an image in which some fields may be invalid."""
    message = image_message(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 'bgr8')
    message.header.stamp = draw(STAMPS)
    for name, values in (('height', WHOLE), ('width', WHOLE), ('step', WHOLE), ('encoding', TEXT)):
        if draw(st.booleans()):
            setattr(message, name, draw(values))
    if draw(st.booleans()):
        message.data = array.array('B', bytes(draw(st.integers(0, 3000))))
    return message


@st.composite
def boxes(draw: st.DrawFn) -> Detection2D:
    """Return a detection with arbitrary numbers and ids."""
    message = Detection2D(id=draw(TEXT))
    message.header.stamp = draw(STAMPS | st.just(Time()))
    message.bbox.size_x, message.bbox.size_y = draw(REAL), draw(REAL)
    message.bbox.center.theta = draw(REAL)
    message.bbox.center.position.x, message.bbox.center.position.y = draw(REAL), draw(REAL)
    for _ in range(draw(st.integers(0, 2))):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = draw(TEXT), draw(REAL)
        message.results.append(result)
    return message


ARRAYS = st.builds(
    lambda at, found: Detection2DArray(header=Detection2D().header, detections=found),
    STAMPS,
    st.lists(boxes(), max_size=3),
)
VALUES = st.builds(
    ParameterValue,
    type=st.integers(0, 9) | st.just(255),
    bool_value=st.booleans(),
    integer_value=st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 100),
    double_value=REAL,
    string_value=TEXT | st.sampled_from(['best', 'manual', 'raw', 'compressed']),
    double_array_value=st.lists(REAL, max_size=5),
    integer_array_value=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    string_array_value=st.lists(st.text(max_size=3), max_size=2),
)


def test_malformed_images_do_not_end_the_node(quick: Talker) -> None:
    @many(HYPOTHESIS['images'])
    @given(images())
    def one(message: Image) -> None:
        deliver(quick, message)

    quick.name_target(TARGET)
    one()
    assert quick.images_seen() >= HYPOTHESIS['images']


def test_malformed_boxes_and_detections_do_not_end_the_node(quick: Talker) -> None:
    quick.set('init_mode', 'best')

    @many(HYPOTHESIS['boxes'])
    @given(boxes() | ARRAYS, st.integers(0, 9))
    def one(message: Any, number: int) -> None:
        if number == 0:
            picture = image_message(scene(0), 'bgr8')
            picture.header.stamp = quick.tracker.get_clock().now().to_msg()
            deliver(quick, picture)
        deliver(quick, message)

    one()


def test_arbitrary_parameters_do_not_end_the_node(quick: Talker) -> None:
    """Requests go through the service's callback, as if a client had sent them."""
    set_parameters = service_callback(quick.tracker, SetParameters)
    names = st.sampled_from([*(setting.name for setting in SETTINGS), 'no_such', ''])

    @many(HYPOTHESIS['parameters'])
    @given(st.lists(st.builds(ParameterMessage, name=names, value=VALUES), min_size=1, max_size=2))
    def one(parameters: list[ParameterMessage]) -> None:
        if any(p.value.type > 9 for p in parameters):
            # rclpy itself raises; `run_node` logs it and continues (tested in test_fuzz_bytes.py).
            return
        response = set_parameters(SetParameters.Request(parameters=parameters), _Response())
        assert len(response.results) == len(parameters)
        assert all(result.successful or result.reason for result in response.results)

    one()


class _Response:
    results: list[Any]

    def __init__(self) -> None:
        self.results = []


def test_arbitrary_transitions_do_not_end_the_node(quick: Talker) -> None:
    change = service_callback(quick.tracker, ChangeState)

    @many(HYPOTHESIS['transitions'])
    @given(st.integers(0, 255), st.sampled_from(['', 'configure', 'activate', 'x', 'cleanup']))
    def one(transition: int, label: str) -> None:
        request = ChangeState.Request()
        # Transitions 5 to 8 shut the node down, as intended.
        request.transition.id = 0 if 5 <= transition <= 8 else transition
        request.transition.label = label
        change(request, ChangeState.Response())
        assert quick.tracker.state_label in ('unconfigured', 'inactive', 'active')

    one()
