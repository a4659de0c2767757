# SPDX-License-Identifier: Apache-2.0
"""Several targets of one tracker node, over real DDS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('hcat_ros_interfaces', reason='needs hcat_ros_interfaces')
pytest.importorskip('onnxruntime', reason='the nodes run an engine')

from hcat_ros_interfaces.srv import NamedTarget, SetTarget
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from talker import TARGET, Talker, scene, stamp, truth
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from hcat_ros.boxes import Box, iou
from hcat_ros.message_data import box_of, image_view, nanoseconds
from hcat_ros.nodes.detections import detection_message

CORNER = Box(4.0, 4.0, 40.0, 40.0)
"""A piece of the background, which stands still."""


class Several:
    """A tracker of several targets, with the messages that it publishes on `tracks`."""

    def __init__(self, talk: Callable[..., Talker], most: int = 3, **parameters: Any) -> None:
        self.talker = talker = talk(max_targets=most, diagnostics_period=0.2, **parameters)
        self.arrays: list[Detection2DArray] = []
        node = talker.node
        node.create_subscription(Detection2DArray, 'tracks', self.arrays.append, 10)
        self.clients = {
            name: node.create_client(kind, f'hcat_tracker/{name}')
            for name, kind in (
                ('set_target', SetTarget),
                ('select_primary', NamedTarget),
                ('drop', NamedTarget),
            )
        }
        talker.start()
        talker.spin(lambda: node.count_publishers('tracks') > 0, 'tracks')
        self.number = 0
        talker.send(0)

    def name(self, box: Box) -> Any:
        request = SetTarget.Request(target=detection_message(Detection2D().header, box))
        return self.talker.call(self.clients['set_target'], request)

    def do(self, what: str, target_id: str) -> Any:
        return self.talker.call(self.clients[what], NamedTarget.Request(id=target_id))

    def step(self) -> tuple[Detection2D, list[Detection2D]]:
        """Send the next frame; return its messages on `track` and `tracks`."""
        self.number += 1
        talker, counts = self.talker, (len(self.talker.tracks), len(self.arrays))
        talker.send(self.number)
        talker.spin(
            lambda: len(talker.tracks) > counts[0] and len(self.arrays) > counts[1], 'tracks'
        )
        return talker.tracks[-1], list(self.arrays[-1].detections)


def test_tracks_contains_all_targets_and_track_the_primary(talk: Callable[..., Talker]) -> None:
    several = Several(talk)
    first, second = several.name(TARGET), several.name(CORNER)
    assert first.success
    assert second.success
    assert first.id != second.id
    for _ in range(3):
        track, tracks = several.step()
        assert track.id == first.id
        assert [one.id for one in tracks] == [first.id, second.id]
        assert several.arrays[-1].header.stamp == stamp(several.number)
        assert iou(box_of(tracks[0]), truth(several.number)) > 0.5
        assert iou(box_of(tracks[1]), CORNER) > 0.5
    assert several.do('select_primary', second.id).success
    track, tracks = several.step()
    assert track.id == second.id
    assert [one.id for one in tracks] == [second.id, first.id]

    def reported() -> dict[str, str]:
        return {pair.key: pair.value for pair in several.talker.status().values}

    several.talker.spin(lambda: 'targets' in reported(), 'the report of several')
    assert reported()['targets'].startswith('2, 2 looked for')
    assert reported()['newest target'] == second.id
    assert several.do('drop', second.id).success
    track, tracks = several.step()
    assert [track.id] == [one.id for one in tracks] == [first.id]


def test_failed_requests_contain_the_reason(talk: Callable[..., Talker]) -> None:
    several = Several(talk, most=1 + 1)
    answers = [several.name(TARGET), several.name(CORNER), several.name(CORNER)]
    assert [answer.success for answer in answers] == [True, True, False]
    assert 'the limit of max_targets' in answers[2].message
    for what in ('select_primary', 'drop'):
        answer = several.do(what, 'nobody' * 100)
        assert not answer.success
        assert answers[0].id in answer.message
        assert len(answer.message) < 200
    several.talker.call(several.talker.reset_client, Trigger.Request())
    assert 'followed targets: none' in several.do('drop', answers[0].id).message
    several.talker.tracker.trigger_deactivate()
    assert 'activate it first' in several.do('drop', answers[0].id).message


def detections(number: int, *boxes: Box) -> Detection2DArray:
    """Detections of a frame, the first with the highest score."""
    message = Detection2DArray()
    message.header.stamp = stamp(number)
    for place, box in enumerate(boxes):
        one = detection_message(message.header, box)
        one.results = [ObjectHypothesisWithPose()]
        one.results[0].hypothesis.class_id = f'class {place}'
        one.results[0].hypothesis.score = 0.9 - 0.1 * place
        message.detections.append(one)
    return message


@pytest.mark.parametrize(('mode', 'expected'), [('all', 2), ('best', 1)])
def test_detections_are_added_as_targets_once(
    talk: Callable[..., Talker], mode: str, expected: int
) -> None:
    several = Several(talk, init_mode=mode)
    talker, session = several.talker, several.talker.tracker.session
    for repetition in range(3):
        message = detections(several.number, truth(several.number), CORNER)
        talker.detections.publish(message)
        if not repetition:
            talker.spin(lambda: len(session.targets) == expected, 'the targets')
        talker.spin_for(0.2)
        several.step()
    # In mode best each message adds one target: the best detection without a target so far.
    assert len(session.targets) == 2
    assert [target.request.class_id for target in session.targets] == ['class 0', 'class 1']


def test_overlapping_detections_become_one_target(talk: Callable[..., Talker]) -> None:
    several = Several(talk, init_mode='all')
    talker, session = several.talker, several.talker.tracker.session
    rider = truth(0)
    # A box that is 1.25 times as high, as of a bicycle with its rider: IoU 0.8.
    bicycle = Box(rider.x, rider.y, rider.w, 1.25 * rider.h)
    talker.detections.publish(detections(0, rider, bicycle, CORNER))
    talker.spin(lambda: len(session.targets) > 1, 'the targets')
    assert [target.request.class_id for target in session.targets] == ['class 0', 'class 2']


def test_searches_per_detections_message_are_limited(
    talk: Callable[..., Talker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a lost target each detection of a crowd caused a search, seconds for one message."""
    # No detection becomes a target, because max_targets is reached.
    several = Several(talk, most=2, init_mode='all')
    talker, session = several.talker, several.talker.tracker.session
    assert several.name(TARGET).success
    assert several.name(CORNER).success
    several.step()
    target = session.targets[0]
    looks: list[Box] = []

    def find_again(box: Box, stamp: int) -> bool:
        looks.append(box)
        return False

    monkeypatch.setattr(type(target), 'is_lost', True)
    monkeypatch.setattr(session, 'find_again', find_again)
    crowd = [Box(2.0 + 9 * n, 200.0, 8.0, 8.0) for n in range(30)]
    message = detections(several.number, *crowd)
    seen: set[Box] = set()
    for count in range(1, 9):
        talker.detections.publish(message)
        talker.spin(lambda: len(looks) >= 4 * count, 'the looks')  # noqa: B023
        assert len(looks) == 4 * count, 'eight searches for two lost targets'
        seen |= set(looks)
    # Every detection has been searched by now.
    assert len(seen) == len(crowd)


def test_track_image_shows_all_targets(talk: Callable[..., Talker]) -> None:
    several = Several(talk)
    pictures: list[Image] = []
    talker = several.talker
    talker.node.create_subscription(Image, 'track_image', pictures.append, QoSProfile(depth=1))
    talker.spin(lambda: talker.tracker.count_subscribers('track_image') > 0, 'the subscription')
    several.name(TARGET)
    several.name(CORNER)
    several.step()
    talker.spin(lambda: bool(pictures), 'a picture')
    drawn, _ = image_view(pictures[-1])
    changed = (drawn != scene(several.number)).any(2)
    for box in (truth(several.number), CORNER):
        x, y = round(box.x), round(box.y)
        assert changed[max(y - 4, 0) : y + 5, x : x + 40].any(), 'its upper side'


def test_new_target_replaces_the_only_one_with_max_targets_1(talk: Callable[..., Talker]) -> None:
    several = Several(talk, most=1)
    first, second = several.name(TARGET), several.name(CORNER)
    track, tracks = several.step()
    assert track.id == second.id != first.id
    assert [one.id for one in tracks] == [second.id]


def write_isaac_bag(path: Path, number: int, *boxes: Box) -> None:
    """Record detections as NVIDIA's yolov8_decoder_node publishes them (Isaac ROS 3.2).

    Each header has the image's stamp; frame ids are empty, classes are numbers, ids are missing.
    """
    from bags import BagWriter

    from hcat_ros.evaluation.bags.message_types import DETECTIONS, build_message, header
    from hcat_ros.evaluation.bags.output import detection

    when = nanoseconds(stamp(number))
    found = [
        detection(when, '', box, '', [(str(place), 0.9 - 0.1 * place)])
        for place, box in enumerate(boxes)
    ]
    with BagWriter(path) as bag:
        array = build_message(DETECTIONS, header=header(when, ''), detections=found)
        bag.add('/detections_output', when, array)


def test_recorded_isaac_ros_detections_start_targets(
    talk: Callable[..., Talker], tmp_path: Path
) -> None:
    pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")
    from hcat_ros.evaluation.bags.reading import open_bag

    several = Several(talk, init_mode='all')
    talker, session = several.talker, several.talker.tracker.session
    write_isaac_bag(tmp_path / 'isaac', several.number, truth(several.number), CORNER)
    with open_bag(tmp_path / 'isaac') as bag:
        (stored,) = bag.messages(['/detections_output'])
    talker.detections.publish(deserialize_message(bytes(stored.data), Detection2DArray))
    talker.spin(lambda: len(session.targets) == 2, 'the targets')
    assert [target.request.class_id for target in session.targets] == ['0', '1']
    _, tracks = several.step()
    assert iou(box_of(tracks[0]), truth(several.number)) > 0.5
    assert [one.results[0].hypothesis.class_id for one in tracks] == ['0', '1']
