# SPDX-License-Identifier: Apache-2.0
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from talker import TARGET, Talker, count_matched, scene, stamp, truth
from vision_msgs.msg import Detection2DArray, ObjectHypothesisWithPose

from hcat_ros.boxes import Box, iou
from hcat_ros.message_data import box_of, image_view
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message


def test_tracks_a_moving_target_and_copies_the_header(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    talker.name_target(TARGET, class_id='box')
    for number in range(1, 8):
        talker.send(number)
    talker.spin(lambda: len(talker.tracks) == 7, '7 tracks')
    for number, track in enumerate(talker.tracks, 1):
        assert track.header.stamp == stamp(number)
        assert track.header.frame_id == 'front'
        assert track.id.endswith('-1')
        assert track.results[0].hypothesis.class_id == 'box'
        assert 0 <= track.results[0].hypothesis.score <= 1
        assert iou(box_of(track), truth(number)) > 0.5


def test_compressed_images_are_tracked(talk: Callable[..., Talker]) -> None:
    talker = talk(transport='compressed')
    talker.start()
    talker.send(0)
    talker.name_target(TARGET)
    talker.send(1)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track')
    assert iou(box_of(talker.tracks[0]), truth(1)) > 0.5


def test_stamped_init_box_starts_on_its_frame_and_catches_up(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    for number in range(6):
        talker.send(number)
    talker.name_target(truth(2), at=stamp(2))
    talker.spin(lambda: len(talker.tracks) == 3, 'tracks of frames 3 to 5')
    assert [track.header.stamp for track in talker.tracks] == [stamp(n) for n in (3, 4, 5)]
    assert iou(box_of(talker.tracks[-1]), truth(5)) > 0.5


def test_init_box_may_arrive_before_its_frame(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    talker.name_target(truth(1), at=stamp(1))
    for number in range(1, 4):
        talker.send(number)
    talker.spin(lambda: len(talker.tracks) == 2, 'tracks of frames 2 and 3')
    assert talker.tracks[0].header.stamp == stamp(2)


def test_init_box_older_than_the_buffer_is_refused_with_its_age(
    talk: Callable[..., Talker],
) -> None:
    talker = talk(buffer_mb=0)
    talker.start()
    for number in range(0, 60, 10):
        talker.send(number)
    talker.name_target(TARGET, at=stamp(0))
    assert '2.500 s older' in talker.tracker.refusals.statistics.last_problem
    talker.send(51)
    assert talker.tracks == []


def test_init_box_parameter_starts_on_the_first_frame(talk: Callable[..., Talker]) -> None:
    talker = talk(init_box=[int(value) for value in TARGET])
    talker.start()
    talker.send(0)
    talker.send(1)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track')


@pytest.mark.parametrize(
    ('box', 'reason'),
    [
        (Box(math.nan, 10, 20, 20), 'not finite'),
        (Box(10, 10, 0.2, 20), 'smaller than one pixel'),
        (Box(5000, 10, 20, 20), 'outside of the 320x240 frame'),
    ],
)
def test_invalid_init_box_is_refused_and_the_target_kept(
    talk: Callable[..., Talker], box: Box, reason: str
) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    talker.name_target(TARGET)
    talker.name_target(box)
    assert reason in talker.tracker.refusals.statistics.last_problem
    talker.send(1)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track of the first target')
    assert talker.tracks[0].id.endswith('-1')
    assert iou(box_of(talker.tracks[0]), truth(1)) > 0.5


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'encoding': '32FC1'}, "encoding '32FC1' is not supported"),
        ({'step': 10}, 'step 10 is shorter than a row'),
        ({'height': 1000}, 'needs 960000'),
        ({'width': 0}, 'image is empty'),
    ],
)
def test_invalid_image_is_refused_and_the_next_one_is_tracked(
    talk: Callable[..., Talker], changes: dict[str, Any], reason: str
) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    talker.name_target(TARGET)
    bad = image_message(scene(1), 'bgr8')
    for name, value in changes.items():
        setattr(bad, name, value)
    seen = talker.images_seen()
    talker.images.publish(bad)
    talker.spin(lambda: talker.images_seen() > seen, 'the bad image')
    assert reason in talker.tracker.refusals.statistics.last_problem
    talker.send(2)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track')


def test_window_penalty_changes_while_running(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    penalty = talker.tracker.get_parameter('window_penalty').value
    assert penalty == talker.tracker.session.tracker.config.window_penalty
    assert talker.set('window_penalty', 0.25).successful
    assert talker.tracker.session.tracker.config.window_penalty == 0.25
    assert talker.set('window_penalty', 1).successful
    assert talker.tracker.session.tracker.config.window_penalty == 1.0
    for bad in (1.5, -0.1, math.nan, 'abc', True):
        result = talker.set('window_penalty', bad)
        assert not result.successful
        assert 'window_penalty' in result.reason
    assert talker.tracker.session.tracker.config.window_penalty == 1.0


def test_reset_drops_the_target(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    assert talker.call(talker.reset_client, Trigger.Request()).message == 'there was no target'
    talker.send(0)
    talker.name_target(TARGET)
    assert talker.call(talker.reset_client, Trigger.Request()).message == 'target dropped'
    talker.send(1)
    talker.spin_for(0.3)
    assert talker.tracks == []
    talker.name_target(truth(1))
    talker.send(2)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track of the next target')
    assert talker.tracks[0].id.endswith('-2')


def test_target_ids_are_unique_across_activations_and_nodes(talk: Callable[..., Talker]) -> None:
    ids: list[str] = []
    for _ in range(2):
        talker = talk()
        for _ in range(2):
            talker.start()
            talker.send(0)
            talker.name_target(TARGET)
            ids.append(talker.tracker.session.target_id)
            talker.tracker.trigger_deactivate()
            talker.tracker.trigger_cleanup()
        talker.node.destroy_publisher(talker.images)
    assert '' not in ids
    assert len(set(ids)) == 4


def test_dla_core_that_the_engine_lacks_is_refused(talk: Callable[..., Talker]) -> None:
    tracker = talk(engine='onnxruntime', dla_core=1).tracker
    tracker.start()
    assert tracker.state_label == 'unconfigured'
    assert 'onnxruntime: has no DLA core 1; leave it out' in tracker.failure


def test_results_are_empty_while_the_target_is_lost(talk: Callable[..., Talker]) -> None:
    talker = talk(lost_threshold=1.0)
    talker.start()
    talker.send(0)
    talker.name_target(TARGET)
    for number in range(1, 20):  # any frame that scores less than the first ones will do
        talker.send(number)
        talker.spin(lambda number=number: len(talker.tracks) == number, 'a track')
        if not talker.tracks[-1].results:
            break
    assert len(talker.tracks[0].results) == 1
    assert len(talker.tracks[-1].results) == 0
    assert talker.tracks[-1].id == talker.tracks[0].id
    talker.spin(
        lambda: any(m.status[0].message == 'target lost' for m in talker.diagnostics),
        'the diagnostics say so',
    )


def test_track_image_is_drawn_while_subscribed(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    talker.name_target(TARGET)
    talker.send(1)
    pictures: list[Image] = []
    subscription = talker.node.create_subscription(Image, 'track_image', pictures.append, 10)
    talker.spin(lambda: count_matched(talker.tracker, 'track_image') == 1, 'the subscription')
    talker.send(2)
    talker.spin(lambda: len(pictures) == 1, 'a picture')
    talker.node.destroy_subscription(subscription)
    picture, encoding = image_view(pictures[0])
    assert encoding == 'bgr8'
    assert pictures[0].header.stamp == stamp(2)
    changed = np.argwhere((picture != scene(2)).any(axis=2))
    assert len(changed) > 100, 'a box and a label'


def test_best_detection_starts_a_target(talk: Callable[..., Talker]) -> None:
    talker = talk(init_mode='best', detection_class='car')
    talker.start()
    talker.send(0)
    message = Detection2DArray()
    message.header.stamp = stamp(0)
    for box, class_id, score in (
        (Box(10, 10, 30, 30), 'car', 0.5),
        (TARGET, 'car', 0.9),
        (Box(200, 20, 40, 30), 'person', 0.99),
    ):
        detection = detection_message(message.header, box)
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = class_id, score
        detection.results = [result]
        message.detections.append(detection)
    talker.detections.publish(message)
    talker.spin(lambda: talker.tracker.session.has_target, 'the target')
    talker.send(1)
    talker.detections.publish(message)  # ignored, because there is a target already
    talker.spin_for(0.3)
    talker.send(2)
    talker.spin(lambda: len(talker.tracks) == 2, 'tracks')
    assert talker.tracks[-1].id.endswith('-1')
    assert talker.tracks[0].results[0].hypothesis.class_id == 'car'
    assert iou(box_of(talker.tracks[0]), truth(1)) > 0.5
