# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('vision_msgs', reason='needs ROS 2')

from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

from hcat_ros.boxes import Box
from hcat_ros.nodes.detections import best_class, box_of, detection_message, track_message
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


def test_best_class() -> None:
    message = Detection2D()
    assert best_class(message) == ('', 0.0)
    results = []
    for name, score in (('cat', 0.2), ('dog', 0.9), ('cow', 0.5)):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = name, score
        results.append(result)
    message.results = results
    assert best_class(message) == ('dog', 0.9)
