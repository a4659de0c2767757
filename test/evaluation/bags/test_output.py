# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import SECOND

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bags.follow import Followed
from hcat_ros.evaluation.bags.named_boxes import NO_BOX
from hcat_ros.evaluation.bags.output import COLUMNS, TrackBag, TrackTable, draw_answers
from hcat_ros.evaluation.bags.reading import BagFrame, open_bag
from hcat_ros.message_data import best_class, box_of, decoded_image, nanoseconds
from hcat_ros.tracking import TargetState, Track

BOX = Box(20.0, 22.5, 30.0, 16.0)
TRUTH = np.array([20.0, 22.5, 30.0, 32.0])
NAN = float('nan')


def image(index: int) -> BagFrame:
    pixels = np.full((120, 160, 3), 40, np.uint8)
    return BagFrame(index, (10 + index) * SECOND, (20 + index) * SECOND, 'front', pixels, 'rgb8')


def followed() -> list[Followed]:
    """Return answers for: no target, init box, tracking, lost, tracking without a true box."""
    tracking, lost = TargetState.TRACKING, TargetState.LOST
    return [
        Followed(image(0), None, 0, False, '', TRUTH, NAN),
        Followed(image(1), Track(BOX, NAN, tracking), 1, True, 'dog', TRUTH, 0.02),
        Followed(image(2), Track(BOX, 0.75, tracking), 1, False, 'dog', TRUTH, 0.01),
        Followed(image(3), Track(BOX, 0.25, lost), 1, False, '', TRUTH, 0.01),
        Followed(image(4), Track(BOX, 0.5, tracking), 1, False, '', NO_BOX, 0.03),
    ]


def test_the_written_bag_has_the_topics_and_values_of_the_node(tmp_path: Path) -> None:
    with TrackBag(tmp_path / 'track') as written:
        for each in followed():
            written.write([each])
    assert sorted(path.name for path in (tmp_path / 'track').iterdir()) == [
        'metadata.yaml',
        'track.mcap',
    ]
    with open_bag(tmp_path / 'track') as bag:
        found = {name: list(bag.decode_topic(topic)) for name, topic in bag.topics.items()}
        assert list(bag.findings) == []

    def times(topic: str) -> list[int]:
        return [log_time // SECOND - 20 for _, log_time, _ in found[topic]]

    assert {topic: times(topic) for topic in found} == {
        '/init_box': [1],
        '/track': [2, 3, 4],
        '/tracks': [2, 3, 4],
        '/truth': [0, 1, 2, 3],
        '/track_image/compressed': [0, 1, 2, 3, 4],
        '/hcat/score': [2, 3, 4],
        '/hcat/iou': [2, 3],
        '/hcat/latency_ms': [1, 2, 3, 4],
    }
    tracks = [message for _, _, message in found['/track']]
    assert [nanoseconds(message.header.stamp) // SECOND - 10 for message in tracks] == [2, 3, 4]
    assert {(message.header.frame_id, message.id) for message in tracks} == {('front', '1')}
    assert {box_of(message) for message in tracks} == {BOX}
    best = [best_class(message) for message in tracks]
    assert best == [('dog', 0.75), ('', 0.0), ('target', 0.5)]
    assert [len(message.results) for message in tracks] == [1, 0, 1]
    (named,) = (message for _, _, message in found['/init_box'])
    assert (box_of(named), best_class(named)[0]) == (BOX, 'dog')
    assert [message.data for _, _, message in found['/hcat/score']] == [0.75, 0.25, 0.5]
    assert [message.data for _, _, message in found['/hcat/iou']] == [0.5, 0.5]
    assert [message.data for _, _, message in found['/hcat/latency_ms']] == [20, 10, 10, 30]
    picture, encoding = decoded_image(found['/track_image/compressed'][2][2])
    assert (picture.shape, encoding) == ((120, 160, 3), 'bgr8')
    assert cv2.absdiff(picture, draw_answers(followed()[2:3])).mean() < 10


def test_drawing_shows_track_and_truth_and_keeps_the_image_unchanged() -> None:
    for each in followed():
        picture = draw_answers([each])
        assert (each.frame.image == 40).all()
        white = (picture == 255).all(axis=2)
        assert white[54, 30] == np.isfinite(each.truth).all()  # the lower edge of the truth
        assert (picture[38, 45] != 40).any() == (each.track is not None)  # and of the track


def test_a_true_box_far_outside_the_image_is_written(tmp_path: Path) -> None:
    truth = np.array([1e10, -1e10, 30.0, 16.0])
    answer = Followed(image(1), None, 1, False, '', truth, NAN)
    with TrackBag(tmp_path / 'track') as written:
        written.write([answer])
    with open_bag(tmp_path / 'track') as bag:
        ((_, _, message),) = bag.decode_topic(bag.topics['/truth'])
    assert box_of(message).x == pytest.approx(1e10)


def test_the_table_has_a_row_per_image(tmp_path: Path) -> None:
    with TrackTable(tmp_path / 'track.csv') as table:
        for each in followed():
            table.write(each)
    with (tmp_path / 'track.csv').open(newline='') as file:
        names, *rows = csv.reader(file)
    assert tuple(names) == COLUMNS
    box = ['20.000', '22.500', '30.000', '16.000']
    assert rows == [
        ['10000000000', '0', '', '', '', '', '', 'no target', '', '', ''],
        ['11000000000', '1', *box, '', 'named', '20.000', '0.5000', '1'],
        ['12000000000', '2', *box, '0.7500', 'tracking', '10.000', '0.5000', '1'],
        ['13000000000', '3', *box, '0.2500', 'lost', '10.000', '0.5000', '1'],
        ['14000000000', '4', *box, '0.5000', 'tracking', '30.000', '', '1'],
    ]


def test_an_interrupted_bag_has_no_metadata(tmp_path: Path) -> None:
    def interrupted() -> None:
        with TrackBag(tmp_path / 'track') as written:
            written.write(followed()[1:2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / 'track' / 'metadata.yaml').exists()


def test_tracks_has_every_target_and_track_the_primary_target(tmp_path: Path) -> None:
    other = Box(100.0, 60.0, 24.0, 24.0)
    tracking, lost = TargetState.TRACKING, TargetState.LOST
    answers = [
        Followed(image(2), Track(BOX, 0.75, tracking), 1, False, 'dog', TRUTH, 0.01, False),
        Followed(image(2), Track(other, 0.5, tracking), 2, False, 'cat', NO_BOX, 0.01, True),
        Followed(image(2), Track(other, 0.1, lost), 3, False, '', NO_BOX, 0.01, False),
    ]
    with TrackBag(tmp_path / 'track') as written:
        written.write(answers)
    with open_bag(tmp_path / 'track') as bag:
        found = {name: list(bag.decode_topic(topic)) for name, topic in bag.topics.items()}
    ((_, _, track),) = found['/track']
    assert (track.id, box_of(track)) == ('2', other)
    ((_, _, tracks),) = found['/tracks']
    assert [(one.id, best_class(one)[0]) for one in tracks.detections] == [
        ('1', 'dog'),
        ('2', 'cat'),
        ('3', ''),
    ]
    assert nanoseconds(tracks.header.stamp) == 12 * SECOND
    assert [message.data for _, _, message in found['/hcat/latency_ms']] == [pytest.approx(30)]
    assert [message.id for _, _, message in found['/truth']] == ['1']
    assert len(found['/track_image/compressed']) == 1
