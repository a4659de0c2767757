# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import SECOND, stamps_of, write_bag

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bags.findings import Findings
from hcat_ros.evaluation.bags.follow import Followed, Sequences, follow
from hcat_ros.evaluation.bags.named_boxes import IndexedTruth, NamedBox, NamedStarts, start_at_once
from hcat_ros.evaluation.bags.reading import BagFrame, open_bag
from hcat_ros.tracking import TargetState, Tracker, TrackerConfig

BOX = Box(40.0, 30.0, 24.0, 24.0)


def frame(index: int, seconds: float, size: tuple[int, int] = (100, 120)) -> BagFrame:
    """Return an image with this stamp; images are recorded every 0.1 s."""
    stamp, recorded = round(seconds * SECOND), index * SECOND // 10
    return BagFrame(index, stamp, recorded, 'cam', np.zeros((*size, 3), np.uint8), 'bgr8')


def frames(*seconds: float) -> list[BagFrame]:
    return [frame(index, value) for index, value in enumerate(seconds)]


@pytest.fixture
def tracker(scripted_engine: Any) -> Tracker:
    return Tracker(scripted_engine(scripted_engine.seeing()), TrackerConfig(window_penalty=0.0))


def through(
    tracker: Tracker, images: Iterable[BagFrame], *boxes: NamedBox, **options: Any
) -> tuple[list[Followed], list[str]]:
    findings = Findings()
    start = NamedStarts(boxes) if boxes else start_at_once(BOX)
    truths = options.get('truths', ())
    most = options.get('max_targets', 1)
    return list(follow(tracker, images, start, truths, findings, most)), list(findings)


def told(followed: Iterable[Followed]) -> list[tuple[int, int, str]]:
    """Return the image number, target number and state of each answer."""
    return [
        (f.frame.index, f.target, 'named' if f.starts else f.track.state.value if f.track else '-')
        for f in followed
    ]


def test_the_target_is_tracked_from_the_first_image(tracker: Tracker) -> None:
    found, findings = through(tracker, frames(1, 1.1, 1.2))
    assert told(found) == [(0, 1, 'named'), (1, 1, 'tracking'), (2, 1, 'tracking')]
    assert found[0].track is not None
    assert found[0].track.box == BOX
    assert np.isnan(found[0].track.score)
    assert found[1].track is not None
    assert found[1].track.score == 0.9
    assert all(each.seconds > 0 for each in found)
    assert findings == []


def test_there_is_no_target_before_its_init_box(tracker: Tracker) -> None:
    box = NamedBox(BOX, round(1.2 * SECOND), 0, 'dog')
    found, _ = through(tracker, frames(1, 1.1, 1.2, 1.3), box)
    assert told(found) == [(0, 0, '-'), (1, 0, '-'), (2, 1, 'named'), (3, 1, 'tracking')]
    assert [each.class_id for each in found] == ['', '', 'dog', 'dog']


def test_a_second_init_box_replaces_the_target(tracker: Tracker) -> None:
    """The image of the second init box still has the track of the old target, as in the node."""
    boxes = [NamedBox(BOX, SECOND, 0), NamedBox(BOX, round(1.2 * SECOND), 0)]
    found, _ = through(tracker, frames(1, 1.1, 1.2, 1.3), *boxes)
    assert told(found) == [
        (0, 1, 'named'),
        (1, 1, 'tracking'),
        (2, 1, 'tracking'),
        (2, 2, 'named'),
        (3, 2, 'tracking'),
    ]


def test_late_images_are_skipped(tracker: Tracker) -> None:
    found, findings = through(tracker, frames(1, 1.3, 1.1, 1.2, 1.4))
    assert told(found) == [
        (0, 1, 'named'),
        (1, 1, 'tracking'),
        (2, 1, '-'),
        (3, 1, '-'),
        (4, 1, 'tracking'),
    ]
    assert findings == [
        'images passed over: 2, the first: image 2: image is 0.200 s older than the newest one: '
        'not tracked'
    ]


def test_images_with_equal_stamps_are_tracked_and_counted(tracker: Tracker) -> None:
    found, findings = through(tracker, frames(0, 0, 0))
    assert len(found) == 3
    assert findings == ['images with the stamp of the previous image: 2, the first: image 1']


def test_after_a_jump_in_time_the_target_is_searched_at_its_last_position(tracker: Tracker) -> None:
    back = [10 + n / 10 for n in range(13)]
    found, findings = through(tracker, frames(100, 100.1, *back), NamedBox(BOX, 100 * SECOND, 0))
    states = [state for _, _, state in told(found)]
    assert states == ['named', 'tracking'] + ['-'] * 9 + ['tracking'] * 4
    assert findings[1] == (
        'new beginnings: 1, the first: image 11: image stamps jumped back by 89.200 s; the target '
        'was searched for where it was'
    )


def test_a_target_not_found_after_a_jump_in_time_is_dropped(scripted_engine: Any) -> None:
    seeing = scripted_engine.seeing
    engine = scripted_engine(*[seeing()] * 11, *[seeing(score=0.05)] * 8)
    config = TrackerConfig(lost_threshold=0.5, uncertain_threshold=0.6, scan_regions=0)
    times = [100 + n / 10 for n in range(12)] + [10 + n / 10 for n in range(13)]
    found, findings = through(Tracker(engine, config), frames(*times))
    states = [state for _, _, state in told(found)][-13:]
    assert states == ['-'] * 9 + ['uncertain', 'lost', '-', '-']
    assert findings[2] == (
        'dropped targets: 1, the first: image 22: dropped the target: after the image stamps '
        'jumped it was not found again'
    )


def test_a_lasting_change_of_image_size_drops_the_target(tracker: Tracker) -> None:
    small = [frame(n, n / 10, (50, 60)) for n in range(2, 14)]
    found, findings = through(tracker, [frame(0, 0), frame(1, 0.1), *small])
    assert told(found)[:2] == [(0, 1, 'named'), (1, 1, 'tracking')]
    assert {state for _, _, state in told(found)[2:]} == {'-'}
    assert findings[0].startswith('images passed over: 9, the first: image 2: image is 60x50 of')
    assert "image 11: images are now 60x50 of frame 'cam'; before they were 120x100" in findings[1]
    assert findings[1].endswith('the target was dropped')


def test_images_with_truth_but_no_track_count_as_missed(tracker: Tracker, bag_path: Path) -> None:
    """Two of five images come late: their overlap is 0; the engine tracks the others."""
    truth = IndexedTruth(dict.fromkeys(range(6), BOX))
    with open_bag(bag_path) as bag:
        sequences = Sequences(bag, bag.image_topic())
        for followed in follow(
            tracker, frames(1, 1.1, 1.4, 1.2, 1.3, 1.5), start_at_once(BOX), [truth], bag.findings
        ):
            sequences.add(followed)
        run = sequences.run('late', {})
    assert sequences.untracked == 2
    assert run is not None
    overlaps = run.score.sequences[0].overlaps
    overlaps = overlaps[np.isfinite(overlaps)]
    assert np.flatnonzero(overlaps == 0).tolist() == [2, 3]
    assert run.score.measures['AO'] == pytest.approx(overlaps[overlaps > 0].sum() / 5)


def test_a_refused_init_box_keeps_the_current_target(tracker: Tracker) -> None:
    outside = NamedBox(Box(900.0, 1.0, 9.0, 9.0), round(1.1 * SECOND), 0)
    found, findings = through(tracker, frames(1, 1.1, 1.2), NamedBox(BOX, SECOND, 0), outside)
    assert told(found) == [(0, 1, 'named'), (1, 1, 'tracking'), (2, 1, 'tracking')]
    assert 'refused boxes: 1, the first: image 1: init box refused: box x=900' in findings[0]
    tracker.drop_target()
    found, findings = through(tracker, frames(1.1, 1.2), outside)
    assert told(found) == [(0, 0, '-'), (1, 0, '-')]


def test_an_unused_init_box_is_reported(tracker: Tracker) -> None:
    _, findings = through(tracker, frames(1, 1.1), NamedBox(BOX, 9 * SECOND, 0))
    assert findings == [
        'init boxes not used: 1, the first: box of 9.000 s: no image that was used is within 0.1 s '
        'of it'
    ]


def test_each_image_has_its_overlap_with_the_truth(tracker: Tracker) -> None:
    truth = IndexedTruth({0: BOX, 1: BOX})
    found, _ = through(tracker, frames(1, 1.1, 1.2), truths=[truth])
    assert found[0].iou == pytest.approx(1)
    assert 0.5 < found[1].iou <= 1
    assert np.isnan(found[2].iou)
    assert np.isnan(found[2].truth).all()


def test_low_scores_end_in_the_lost_state(scripted_engine: Any) -> None:
    seeing = scripted_engine.seeing
    engine = scripted_engine(*[seeing()] * 12, *[seeing(score=0.05)] * 8)
    config = TrackerConfig(lost_threshold=0.5, scan_regions=0)
    found, _ = through(Tracker(engine, config), frames(*np.arange(1, 2, 0.05)))
    states = [each.track.state for each in found if each.track]
    assert states[:12] == [TargetState.TRACKING] * 12
    assert states[-1] is TargetState.LOST


@pytest.fixture
def bag_path(tmp_path: Path) -> Path:
    return write_bag(tmp_path / 'walk', [np.full((100, 120, 3), 9 * n, np.uint8) for n in range(6)])


def test_a_replay_is_scored_as_a_run(tracker: Tracker, bag_path: Path) -> None:
    truth = IndexedTruth(dict.fromkeys((2, 3, 4), BOX))
    with open_bag(bag_path) as bag:
        topic = bag.image_topic()
        sequences = Sequences(bag, topic)
        start = NamedStarts([NamedBox(BOX, stamps_of(2)[1], 0)])
        for followed in follow(tracker, bag.frames(topic), start, [truth], bag.findings):
            sequences.add(followed)
        run = sequences.run('ours', {'tracker': 1})
        assert run is not None
        assert run.title == 'ours'
        assert [clip.name for clip in run.clips] == ['walk']
        (clip,), (result,) = run.clips, run.results
        assert len(clip.images) == len(clip.boxes) == len(result.boxes) == 5
        assert clip.boxes[0].tolist() == list(BOX)  # no true box there: the init box stands in
        assert np.isnan(clip.boxes[4]).all()
        assert np.isnan(result.scores[0])
        overlaps = run.score.sequences[0].overlaps
        assert np.isfinite(overlaps).tolist() == [False, True, True, True, False]
        assert run.score.measures['AO'] == pytest.approx(np.nanmean(overlaps))
        assert [number.tolist() for number in sequences.numbers()] == [[1, 2, 3, 4, 5]]
        picture = sequences.read_frame(clip, 3)
        assert picture is not None
        assert (picture == 9 * 4).all()


def test_successive_targets_are_separate_sequences(tracker: Tracker, bag_path: Path) -> None:
    stamps = stamps_of(6)
    with open_bag(bag_path) as bag:
        topic = bag.image_topic()
        sequences = Sequences(bag, topic)
        start = NamedStarts([NamedBox(BOX, stamps[0], 0), NamedBox(BOX, stamps[3], 0)])
        truth = IndexedTruth(dict.fromkeys(range(5), BOX))
        for followed in follow(tracker, bag.frames(topic), start, [truth], bag.findings):
            sequences.add(followed)
        run = sequences.run('ours', {})
        assert run is not None
        assert [clip.name for clip in run.clips] == ['walk, target 1', 'walk, target 2']
        assert [len(result.boxes) for result in run.results] == [4, 3]
        picture = sequences.read_frame(run.clips[1], 1)
        assert picture is not None
        assert (picture == 9 * 4).all()


def test_without_truth_there_are_results_but_no_scored_run(
    tracker: Tracker, bag_path: Path
) -> None:
    with open_bag(bag_path) as bag:
        topic = bag.image_topic()
        sequences = Sequences(bag, topic)
        start = start_at_once(Box(40.0, 30.0, 1.5, 24.0))  # too thin to start a clip
        for followed in follow(tracker, bag.frames(topic), start, [], bag.findings):
            sequences.add(followed)
        assert sequences.run('ours', {}) is None
        clips, results = sequences.results()
        assert clips[0].visible.tolist() == [0]
        assert len(results[0].boxes) == 6


def test_several_targets_are_tracked_at_once(tracker: Tracker) -> None:
    other = Box(100.0, 60.0, 24.0, 24.0)
    boxes = [NamedBox(BOX, SECOND, 0), NamedBox(other, 11 * SECOND // 10, 0, number=1)]
    truths = [IndexedTruth(dict.fromkeys(range(4), box)) for box in (BOX, other)]
    images = frames(1, 1.1, 1.2, 1.3)
    found, findings = through(tracker, images, *boxes, truths=truths, max_targets=2)
    assert told(found) == [
        (0, 1, 'named'),
        (1, 1, 'tracking'),
        (1, 2, 'named'),
        (2, 1, 'tracking'),
        (2, 2, 'tracking'),
        (3, 1, 'tracking'),
        (3, 2, 'tracking'),
    ]
    assert findings == []
    assert {(one.target, one.is_primary) for one in found} == {(1, True), (2, False)}
    assert {(one.target, tuple(one.truth)) for one in found} == {(1, BOX), (2, other)}


def test_a_target_beyond_max_targets_is_reported(tracker: Tracker) -> None:
    boxes = [NamedBox(Box(20.0 + 40 * n, 20, 24, 24), SECOND, 0, number=n) for n in range(3)]
    found, findings = through(tracker, frames(1, 1.1), *boxes, max_targets=2)
    assert {one.target for one in found} == {1, 2}
    assert len(findings) == 1
    assert '2 targets are followed, the limit of max_targets' in findings[0]


def test_the_last_of_two_boxes_for_one_target_counts(tracker: Tracker) -> None:
    other = Box(100.0, 60.0, 24.0, 24.0)
    found, _ = through(
        tracker, frames(1, 1.1), NamedBox(BOX, SECOND, 1), NamedBox(other, SECOND, 2)
    )
    assert told(found) == [(0, 1, 'named'), (1, 1, 'tracking')]
    assert found[0].track is not None
    assert found[0].track.box == other


def test_simultaneous_targets_are_separate_sequences_of_the_run(
    tracker: Tracker, bag_path: Path
) -> None:
    other = Box(100.0, 60.0, 24.0, 24.0)
    with open_bag(bag_path) as bag:
        topic = bag.image_topic()
        sequences = Sequences(bag, topic)
        truths = [IndexedTruth(dict.fromkeys(range(5), box)) for box in (BOX, other)]
        start = start_at_once(BOX, other)
        for followed in follow(tracker, bag.frames(topic), start, truths, bag.findings, 2):
            sequences.add(followed)
        run = sequences.run('title', {})
    assert run is not None
    assert [clip.name.rpartition(', ')[2] for clip in run.clips] == ['target 1', 'target 2']
    assert [clip.boxes[0].tolist() for clip in run.clips] == [list(BOX), list(other)]
    assert [len(result.boxes) for result in run.results] == [6, 6]


def test_an_init_box_of_a_skipped_image_is_reported(tracker: Tracker) -> None:
    late = NamedBox(BOX, 125 * SECOND // 100, 0)  # nearest to the late image
    images = frames(1, 1.1, 1.4, 1.2, 1.5)
    found, findings = through(tracker, images, NamedBox(BOX, SECOND, 0), late)
    assert {one.target for one in found} == {1}
    assert any('images passed over' in finding for finding in findings)
    assert any('init boxes not used' in finding for finding in findings)
