# SPDX-License-Identifier: Apache-2.0
import math

import pytest

pytest.importorskip('vision_msgs', reason='needs ROS 2')

from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from hcat_ros.boxes import Box
from hcat_ros.message_data import box_of
from hcat_ros.nodes.detections import (
    choose_detection,
    detection_message,
    track_message,
    usable_detections,
)
from hcat_ros.tracking import TargetState, Track
from hcat_ros.tracking.stream import CameraView


def header() -> Header:
    message = Header(frame_id='front')
    message.stamp.sec, message.stamp.nanosec = 12, 34
    return message


@pytest.mark.parametrize('box', [Box(1.5, 2.25, 30.0, 40.5), Box(10, 20, 30, 40)])
def test_box_survives_the_message_round_trip(box: Box) -> None:
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


VIEW = CameraView(640, 480, 'front')


def array(*detections: Detection2D, frame_id: str = '') -> Detection2DArray:
    message = Detection2DArray(detections=list(detections))
    message.header.frame_id = frame_id
    return message


def usable_scores(*detections: Detection2D, view: CameraView | None = VIEW) -> list[float]:
    return [one.score for one in usable_detections(array(*detections), view)[0]]


@pytest.mark.parametrize(
    ('mode', 'classes', 'near', 'expected'),
    [
        ('best', [], None, 100),
        ('best', ['car'], None, 200),
        ('best', ['cat'], None, None),  # its best class is dog
        ('class', ['bus', 'car', 'dog'], None, 200),
        ('class', [], None, 100),
        ('nearest', [], Box(280, 0, 10, 10), 300),
        ('nearest', ['car', 'dog'], Box(280, 0, 10, 10), 200),
        ('nearest', [], None, 100),
        ('nearest', ['bus'], Box(280, 0, 10, 10), None),
    ],
)
def test_detection_is_chosen_by_mode_class_and_distance(
    mode: str, classes: list[str], near: Box | None, expected: int | None
) -> None:
    all_of_them, reason = usable_detections(array(*FOUND), VIEW)
    assert reason == ''
    found = choose_detection(all_of_them, mode, classes, near)
    assert (found and found.box.x) == expected
    assert choose_detection([], mode, classes, near) is None


def test_only_finite_detections_inside_the_image_are_used() -> None:
    nowhere = detection(float('nan'), ('car', 0.95))
    outside = detection(700, ('car', 0.94))
    unsure = detection(50, ('car', float('nan')))
    also = detection(100, ('cat', float('nan')), ('car', 0.6))
    assert usable_scores(nowhere, outside, unsure, also, FOUND[0]) == [0.6, 0.6]
    assert usable_scores(outside, view=None) == [0.94], 'before the first image nobody knows'
    assert usable_detections(array(outside), VIEW)[1] == (
        'box x=700 y=10 w=20 h=20 lies outside of the 640x480 frame'
    )


def test_detections_from_another_camera_frame_are_ignored() -> None:
    other = detection(0, ('car', 0.9))
    other.header.frame_id = 'rear'
    found, reason = usable_detections(array(other, FOUND[0]), VIEW)
    assert [one.score for one in found] == [0.6]
    assert reason == "its frame is 'rear', but the images have frame 'front'"
    slashed = detection(0, ('car', 0.9))
    slashed.header.frame_id = '/front'
    nameless = detection(0, ('car', 0.8))
    nameless.header.frame_id = ''
    assert usable_scores(slashed, nameless) == [0.9, 0.8]
    assert usable_detections(array(nameless, frame_id='rear'), VIEW)[0] == []


def test_detection_stamp_falls_back_to_the_array_stamp() -> None:
    own, without = detection(0, ('car', 0.9)), detection(0, ('car', 0.8))
    without.header.stamp.sec = without.header.stamp.nanosec = 0
    message = array(own, without)
    assert [one.stamp for one in usable_detections(message, VIEW)[0]] == [12_000_000_034, 0]
    message.header.stamp.sec = 7
    assert [one.stamp for one in usable_detections(message, VIEW)[0]] == [
        12_000_000_034,
        7_000_000_000,
    ]


def test_rotated_box_becomes_its_upright_bounding_box() -> None:
    message = detection_message(header(), Box.from_center(100, 50, 40, 20))
    message.bbox.center.theta = math.pi / 2
    assert box_of(message) == pytest.approx((90, 30, 20, 40))
    message.bbox.center.theta = -math.pi / 6  # 40 cos 30 + 20 sin 30, 40 sin 30 + 20 cos 30
    assert box_of(message)[2:] == pytest.approx((44.6410, 37.3205), abs=1e-4)
    message.bbox.center.theta = float('inf')
    assert math.isnan(box_of(message).w)
