# SPDX-License-Identifier: Apache-2.0
"""The service `~/set_target`, over real DDS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('hcat_ros_interfaces', reason='needs hcat_ros_interfaces')
pytest.importorskip('onnxruntime', reason='the nodes run an engine')

from hcat_ros_interfaces.srv import SetTarget
from std_srvs.srv import Trigger
from talker import TARGET, Talker, stamp, truth
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import Box, iou
from hcat_ros.message_data import box_of
from hcat_ros.nodes.detections import detection_message


def request(box: Box, number: int | None = None) -> SetTarget.Request:
    """Return a request for a box in frame `number`, the newest one if None."""
    target = detection_message(Detection2D().header, box)
    if number is not None:
        target.header.stamp = stamp(number)
    return SetTarget.Request(target=target)


class Caller:
    """Calls the service of a talker's tracker."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.client = talker.node.create_client(SetTarget, 'hcat_tracker/set_target')

    def __call__(self, box: Box, number: int | None = None) -> Any:
        return self.talker.call(self.client, request(box, number))

    def begin(self, box: Box, number: int | None = None) -> Any:
        """Return the future of a call that waits in the tracker."""
        self.talker.spin(self.client.service_is_ready, 'service')
        future = self.client.call_async(request(box, number))
        requests = self.talker.tracker.session.requests
        self.talker.spin(lambda: requests.waiting is not None, 'the request waiting')
        return future


def test_response_contains_the_id_of_the_tracks(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    answer = Caller(talker)(TARGET)
    assert (answer.success, answer.message) == (True, '')
    talker.send(1)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track')
    assert talker.tracks[0].id == answer.id != ''
    assert iou(box_of(talker.tracks[0]), truth(1)) > 0.5


@pytest.mark.parametrize(
    ('box', 'number', 'reason'),
    [
        (Box(1000, 80, 40, 40), None, 'outside'),
        (Box(100, 80, float('nan'), 40), None, 'finite'),
        (Box(100, 80, 0, 40), None, 'smaller than one pixel'),
        (TARGET, 60, 'ahead of the newest image'),
    ],
)
def test_refusal_contains_the_reason(
    talk: Callable[..., Talker], box: Box, number: int | None, reason: str
) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    answer = Caller(talker)(box, number)
    assert not answer.success
    assert reason in answer.message
    assert answer.id == ''
    assert talker.tracker.refusals.statistics.counts['refused boxes'] == 1


def test_unconfigured_tracker_refuses_the_request(talk: Callable[..., Talker]) -> None:
    answer = Caller(talk())(TARGET)
    assert not answer.success
    assert 'unconfigured' in answer.message


def test_stamped_request_is_answered_when_its_image_arrives(
    talk: Callable[..., Talker],
) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    future = Caller(talker).begin(truth(6), 6)
    assert not future.done()
    talker.send(6)
    talker.spin(future.done, 'the answer')
    assert future.result().success


def test_request_without_images_times_out(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    answer = Caller(talker)(TARGET)
    assert not answer.success
    assert 'no image has come within 1 s' in answer.message
    talker.send(0)  # the request has timed out
    talker.send(1)
    talker.spin_for(0.3)
    assert talker.tracks == []


@pytest.mark.parametrize(
    ('what', 'reason'),
    [('reset', 'reset'), ('deactivate', 'reset'), ('another', 'another target was named')],
)
def test_waiting_request_is_answered_when_it_is_dropped(
    talk: Callable[..., Talker], what: str, reason: str
) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    future = Caller(talker).begin(truth(9), 9)
    if what == 'reset':
        talker.call(talker.reset_client, Trigger.Request())
    elif what == 'deactivate':
        talker.tracker.trigger_deactivate()
    else:
        talker.name_target(TARGET)
    talker.spin(future.done, 'the answer')
    assert not future.result().success
    assert reason in future.result().message
