# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('vision_msgs', reason='needs ROS 2')

from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

from hcat_ros.boxes import Box
from hcat_ros.message_data import box_of
from hcat_ros.nodes.detections import chosen, detection_message, track_message
from hcat_ros.tracking import TargetState, Track


def header() -> Header:
    message = Header(frame_id='front')
    message.stamp.sec, message.stamp.nanosec = 12, 34
    return message


@pytest.mark.parametrize('box', [Box(1.5, 2.25, 30.0, 40.5), Box(10, 20, 30, 40)])
def test_a_box_survives_the_message_also_in_whole_numbers(box: Box) -> None:
    message = detection_message(header(), box, 'a')
    assert box_of(message) == box
    assert (message.bbox.center.position.x, message.bbox.size_y) == (box.cx, box.h)
    assert message.id == 'a'
    assert len(message.results) == 0


def test_a_track_has_one_result_with_the_raw_score() -> None:
    track = Track(Box(1.0, 2.0, 3.0, 4.0), 0.75, TargetState.TRACKING)
    message = track_message(header(), track, '3', 'dog')
    assert message.header == header()
    assert [r.hypothesis.class_id for r in message.results] == ['dog']
    assert message.results[0].hypothesis.score == 0.75


def test_a_lost_track_has_no_result() -> None:
    track = Track(Box(1.0, 2.0, 3.0, 4.0), 0.1, TargetState.LOST)
    assert len(track_message(header(), track, '3', 'dog').results) == 0


def detection(x: float, *hypotheses: tuple[str, float]) -> Detection2D:
    message = detection_message(header(), Box(x, 10, 20, 20))
    for name, score in hypotheses:
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = name, score
        message.results = [*message.results, result]
    return message


FOUND = [
    detection(0, ('car', 0.6)),
    detection(100, ('dog', 0.9), ('cat', 0.2)),
    detection(200, ('car', 0.7)),
    detection(300),
]


@pytest.mark.parametrize(
    ('mode', 'classes', 'near', 'expected'),
    [
        ('best', [], None, 1),
        ('best', ['car'], None, 2),
        ('best', ['cat'], None, None),  # it is rather a dog
        ('class', ['bus', 'car', 'dog'], None, 2),
        ('class', [], None, 1),
        ('nearest', [], Box(280, 0, 10, 10), 3),
        ('nearest', ['car', 'dog'], Box(280, 0, 10, 10), 2),
        ('nearest', [], None, 1),
        ('nearest', ['bus'], Box(280, 0, 10, 10), None),
    ],
)
def test_which_detection_is_followed(
    mode: str, classes: list[str], near: Box | None, expected: int | None
) -> None:
    found = chosen(FOUND, mode, classes, near)
    assert found is (None if expected is None else FOUND[expected])
    assert chosen([], mode, classes, near) is None


def test_a_detection_without_a_place_is_not_the_nearest() -> None:
    nowhere = detection(float('nan'), ('car', 0.9))
    assert chosen([nowhere, FOUND[0]], 'nearest', [], Box(0, 0, 1, 1)) is FOUND[0]
