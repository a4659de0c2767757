# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import BEGIN, CAMERA, SECOND, BagWriter, raw_image, stamps_of, write_bag

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bags.findings import Findings
from hcat_ros.evaluation.bags.follow import Sequences, follow
from hcat_ros.evaluation.bags.named_boxes import (
    IndexedTruth,
    NamedBox,
    NamedStarts,
    start_at_once,
)
from hcat_ros.evaluation.bags.output import detection
from hcat_ros.evaluation.bags.reading import open_bag
from hcat_ros.evaluation.bags.recorded_tracks import Recorded, judge_recorded, recorded_tracks
from hcat_ros.tracking import TargetState, Tracker

COUNT = 7
STAMPS = stamps_of(COUNT)
BOX = Box(20.0, 12.0, 20.0, 16.0)


def box(number: int) -> Box:
    return Box(10.0 + number, 12.0, 20.0, 16.0)


def track_bag(path: Path, tracks: dict[int, Any], topic: str = '/hcat/track') -> Path:
    """Write a bag with tracks by stamp: number of the box, and class and score unless lost."""
    with BagWriter(path) as bag:
        for stamp, (number, *results) in tracks.items():
            bag.add(topic, stamp + SECOND, detection(stamp, '', box(number), '1', results))
    return path


@pytest.fixture
def judge(tmp_path: Path, scripted_engine: Any) -> Any:
    """Score tracks on a replay of seven images with init boxes on the images `starts`."""

    def run(tracks: dict[int, Any], *starts: int) -> tuple[Recorded, list[str]]:
        images = [np.zeros((60, 80, 3), np.uint8)] * COUNT
        findings = Findings()
        found = recorded_tracks(track_bag(tmp_path / 'track', tracks), findings)
        truth = IndexedTruth({number: box(number) for number in range(COUNT)})
        start = NamedStarts([NamedBox(BOX, STAMPS[number], 0) for number in starts])
        tracker = Tracker(scripted_engine(scripted_engine.seeing()))
        with open_bag(write_bag(tmp_path / 'walk', images)) as bag:
            topic = bag.image_topic()
            own = Sequences(bag, topic)
            for followed in follow(tracker, bag.frames(topic), start, [truth], findings):
                own.add(followed)
            return judge_recorded(own, found, findings), list(findings)

    return run


def test_a_recorded_track_is_scored_on_the_same_images(judge: Any) -> None:
    tracks = {STAMPS[n]: (n, ('dog', 0.5 + n / 100)) for n in range(2, COUNT)}
    found, findings = judge(tracks, 1)
    (clip,), (result,) = found.sequences.results()
    assert len(clip.images) == len(result.boxes) == 6
    assert result.boxes[0].tolist() == list(BOX)
    assert result.boxes[1:].tolist() == [list(box(number)) for number in range(2, COUNT)]
    assert result.scores[1:].tolist() == [0.52, 0.53, 0.54, 0.55, 0.56]
    assert np.isnan(result.seconds).all()
    run = found.sequences.run('recorded', {})
    assert run is not None
    assert run.score.measures['AO'] == 1
    assert found.compared == 5
    assert 0 < found.difference < 80
    assert findings == []


def test_missing_tracks_are_lost_frames_and_unmatched_tracks_are_reported(judge: Any) -> None:
    tracks = {
        STAMPS[2]: (2, ('dog', 0.9)),
        STAMPS[3]: (3,),
        STAMPS[6]: (6, ('dog', 0.8)),
        BEGIN - SECOND: (0, ('dog', 0.9)),
    }
    found, findings = judge(tracks, 0)
    (result,) = found.sequences.results()[1]
    kept = [list(BOX), list(BOX), *(list(box(number)) for number in (2, 3, 3, 3, 6))]
    assert result.boxes.tolist() == kept
    assert result.lost.tolist() == [False, False, False, True, True, True, False]
    assert np.isfinite(result.scores).tolist() == [False, False, True, False, False, False, True]
    assert found.compared == 3
    assert findings == [
        'images without a track: 3, the first: at 1700000000.033 s',
        'tracks without an image: 1, the first: at 1699999999.000 s',
    ]


def test_a_recorded_track_is_divided_among_the_targets_of_the_replay(judge: Any) -> None:
    found, _ = judge({stamp: (n, ('dog', 0.9)) for n, stamp in enumerate(STAMPS)}, 0, 4)
    assert [len(result.boxes) for result in found.sequences.results()[1]] == [5, 3]
    assert found.compared == 6


def test_a_track_of_other_images_cannot_be_compared(judge: Any) -> None:
    found, findings = judge({5: (1, ('dog', 0.9))}, 0)
    assert found.compared == 0
    assert np.isnan(found.difference)
    assert findings[1] == 'tracks without an image: 1, the first: at 0.000 s'


def test_a_bag_needs_exactly_one_track_topic(tmp_path: Path) -> None:
    path = track_bag(tmp_path / 'bag', {5: (1,)}, '/boxes')
    with pytest.raises(ValueError, match='expected one Detection2D topic track, found none'):
        recorded_tracks(path, Findings())
    with BagWriter(tmp_path / 'two') as bag:
        for name in ('/a/track', '/b/track'):
            bag.add(name, 1, detection(1, '', box(1)))
    with pytest.raises(ValueError, match='topic track, found /a/track, /b/track'):
        recorded_tracks(tmp_path / 'two', Findings())


def test_a_recorded_detection_without_class_is_a_lost_target(tmp_path: Path) -> None:
    path = track_bag(tmp_path / 'bag', {5: (1,), 6: (2, ('dog', 0.25))})
    tracks = recorded_tracks(path, Findings())
    assert [one.stamp for one in tracks] == [5, 6]
    lost, seen = (one.track for one in tracks)
    assert lost.state is TargetState.LOST
    assert np.isnan(lost.score)
    assert (seen.state, seen.score) == (TargetState.TRACKING, 0.25)


@pytest.fixture
def unstamped(tmp_path: Path, scripted_engine: Any) -> Any:
    """Score `count` tracks without stamps on five images without stamps."""

    def run(count: int) -> tuple[Recorded, list[str]]:
        with BagWriter(tmp_path / 'walk') as bag:
            for number in range(5):
                bag.add(CAMERA, BEGIN + number, raw_image(0, np.zeros((60, 80, 3), np.uint8)))
        with BagWriter(tmp_path / 'track') as bag:
            for number in range(1, 1 + count):
                bag.add('/track', BEGIN + number, detection(0, '', box(number), '1', [('a', 0.9)]))
        findings = Findings()
        truth = IndexedTruth({number: box(number) for number in range(5)})
        tracker = Tracker(scripted_engine(scripted_engine.seeing()))
        with open_bag(tmp_path / 'walk') as bag:
            topic = bag.image_topic()
            own = Sequences(bag, topic)
            start = start_at_once(BOX)
            for followed in follow(tracker, bag.frames(topic), start, [truth], Findings()):
                own.add(followed)
            tracks = recorded_tracks(tmp_path / 'track', findings)
            return judge_recorded(own, tracks, findings), list(findings)

    return run


def test_tracks_without_stamps_are_matched_by_order(unstamped: Any) -> None:
    found, findings = unstamped(4)
    run = found.sequences.run('recorded', {})
    assert run is not None
    assert run.score.measures['AO'] == 1
    assert findings == ['stamps repeat: the recorded tracks belong to images in order']


def test_tracks_without_stamps_need_exactly_one_track_per_image(unstamped: Any) -> None:
    with pytest.raises(ValueError, match='3 tracks cannot be assigned to 4 images'):
        unstamped(3)
