# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import BEGIN, SECOND, BagWriter, stamps_of, write_bag

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bag_boxes import IndexedTruth
from hcat_ros.evaluation.bag_output import detection
from hcat_ros.evaluation.bag_replay import Followed
from hcat_ros.evaluation.bag_tracks import follow_recorded, recorded_tracks
from hcat_ros.evaluation.bags import open_bag
from hcat_ros.evaluation.findings import Findings
from hcat_ros.tracking import TargetState

STAMPS = stamps_of(7)


def box(number: int) -> Box:
    return Box(10.0 + number, 12.0, 20.0, 16.0)


def track_bag(path: Path, tracks: dict[int, Any], topic: str = '/hcat/track') -> Path:
    """A bag with tracks by their stamp: target's id, and class and score unless it is lost."""
    with BagWriter(path) as bag:
        for stamp, (number, target, *results) in tracks.items():
            bag.add(topic, stamp + SECOND, detection(stamp, '', box(number), target, results))
    return path


def through(tmp_path: Path, tracks: dict[int, Any]) -> tuple[list[Followed], list[str]]:
    images = [np.zeros((60, 80, 3), np.uint8)] * 7
    findings = Findings()
    recorded = recorded_tracks(track_bag(tmp_path / 'track', tracks), findings)
    truth = IndexedTruth({number: box(number) for number in range(7)})
    with open_bag(write_bag(tmp_path / 'walk', images)) as bag:
        frames = bag.frames(bag.image_topic())
        return list(follow_recorded(recorded, frames, truth, findings)), list(findings)


def told(followed: list[Followed]) -> list[tuple[int, int, str]]:
    return [
        (f.frame.index, f.target, 'named' if f.starts else f.track.state.value if f.track else '-')
        for f in followed
    ]


def test_a_recorded_track(tmp_path: Path) -> None:
    tracks = {STAMPS[n]: (n, '1', ('dog', 0.5 + n / 100)) for n in range(2, 7)}
    found, findings = through(tmp_path, tracks)
    assert told(found) == [
        (0, 0, '-'),
        (1, 1, 'named'),
        *((number, 1, 'tracking') for number in range(2, 7)),
    ]
    assert [each.iou for each in found[2:]] == [1.0] * 5
    assert [each.track.score for each in found[2:] if each.track] == [0.52, 0.53, 0.54, 0.55, 0.56]
    assert {each.class_id for each in found[1:]} == {'dog'}
    assert findings == []


def test_lost_and_dropped_images_and_a_second_target(tmp_path: Path) -> None:
    tracks = {
        STAMPS[1]: (1, '1', ('dog', 0.9)),
        STAMPS[3]: (3, '1'),
        STAMPS[5]: (5, '2', ('cat', 0.8)),
        STAMPS[6]: (6, '2', ('cat', 0.8)),
        BEGIN - SECOND: (0, '1', ('dog', 0.9)),
    }
    found, findings = through(tmp_path, tracks)
    assert told(found) == [
        (0, 1, 'named'),
        (1, 1, 'tracking'),
        (2, 1, 'tracking'),
        (3, 1, 'lost'),
        (4, 1, 'lost'),
        (4, 2, 'named'),
        (5, 2, 'tracking'),
        (6, 2, 'tracking'),
    ]
    assert found[2].track is not None
    assert found[2].track.box == box(1)  # of the image before
    assert findings == [
        'images without a track: 2, the first: image 2',
        'tracks without an image: 1, the first: the one of 1699999999.000 s',
    ]


def test_a_track_from_the_first_image_on(tmp_path: Path) -> None:
    found, _ = through(tmp_path, {stamp: (n, '4', ('', 0.9)) for n, stamp in enumerate(STAMPS)})
    assert told(found) == [(0, 1, 'named'), *((n, 1, 'tracking') for n in range(1, 7))]


def test_a_track_of_other_images(tmp_path: Path) -> None:
    found, findings = through(tmp_path, {5: (1, '1', ('dog', 0.9))})
    assert told(found) == [(number, 0, '-') for number in range(7)]
    assert findings == ['tracks without an image: 1, the first: the one of 0.000 s']


def test_a_bag_without_a_track(tmp_path: Path) -> None:
    path = track_bag(tmp_path / 'bag', {5: (1, '1')}, '/boxes')
    with pytest.raises(ValueError, match='expected one Detection2D topic track, found none'):
        recorded_tracks(path, Findings())
    with BagWriter(tmp_path / 'two') as bag:
        for name in ('/a/track', '/b/track'):
            bag.add(name, 1, detection(1, '', box(1)))
    with pytest.raises(ValueError, match='topic track, found /a/track, /b/track'):
        recorded_tracks(tmp_path / 'two', Findings())


def test_the_state_of_the_node(tmp_path: Path) -> None:
    path = track_bag(tmp_path / 'bag', {5: (1, '1'), 6: (2, '1', ('dog', 0.25))})
    tracks = recorded_tracks(path, Findings())
    assert tracks[5].track.state is TargetState.LOST
    assert np.isnan(tracks[5].track.score)
    assert tracks[6].track.score == 0.25
