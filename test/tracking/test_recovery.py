# SPDX-License-Identifier: Apache-2.0
"""A target that disappears and reappears somewhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from hcat_ros.boxes import iou
from hcat_ros.engines import load_engine
from hcat_ros.models import load_model
from hcat_ros.tracking import TargetState, Tracker, TrackerConfig

pytest.importorskip('onnxruntime')

LOST, TRACKING = TargetState.LOST, TargetState.TRACKING
FRAME = (360, 640)
START, ELSEWHERE = (60, 60, 48, 48), (520, 260, 48, 48)


@pytest.fixture
def frame(picture: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Makes frames of a smooth ground with the target on it, or without."""
    patch = picture(48, 48, 3)
    ramp = (
        np.linspace(60, 150, FRAME[1])[None, :, None] + np.linspace(0, 40, FRAME[0])[:, None, None]
    )
    ground = np.repeat(ramp, 3, axis=2).astype(np.uint8)

    def make(box: tuple[int, int, int, int] | None) -> np.ndarray:
        image = ground.copy()
        if box is not None:
            x, y, w, h = box
            image[y : y + h, x : x + w] = cv2.resize(patch, (w, h), interpolation=cv2.INTER_AREA)
        return image

    return make


def tracker(**changes: Any) -> Tracker:
    model = load_model('hcat_base')
    engine = load_engine(model, 'onnxruntime', 'fp32', threads=1)
    return Tracker(engine, TrackerConfig(**{**model.card.tracking, **changes}))


def follow(tracked: Tracker, frames: list[np.ndarray]) -> list[Any]:
    tracked.init(frames[0], START)
    return [tracked.update(image) for image in frames[1:]]


def test_target_is_lost_and_found_where_it_reappears(frame: Callable[..., np.ndarray]) -> None:
    there, gone, back = [frame(START)] * 13, [frame(None)] * 10, [frame(ELSEWHERE)] * 60
    tracks = follow(tracker(), there + gone + back)
    assert {track.state for track in tracks[:12]} == {TRACKING}
    assert tracks[16].state is LOST
    assert {track.state for track in tracks[16:22]} == {LOST}, 'nothing else is taken for it'
    last = tracks[-1]
    assert last.state is TRACKING
    assert iou(last.box, ELSEWHERE) > 0.6
    for track in tracks[22:]:
        if track.state is TRACKING:
            assert iou(track.box, ELSEWHERE) > 0.5, 'never said of another place'


@pytest.mark.parametrize('side', [34, 70])
def test_target_that_reappears_in_another_size_is_found(
    frame: Callable[..., np.ndarray], side: int
) -> None:
    elsewhere = (500, 240, side, side)
    there, gone, back = [frame(START)] * 13, [frame(None)] * 10, [frame(elsewhere)] * 60
    tracks = follow(tracker(), there + gone + back)
    assert tracks[20].state is LOST
    assert tracks[-1].state is TRACKING
    assert iou(tracks[-1].box, elsewhere) > 0.6


def test_without_scan_regions_the_target_stays_lost(frame: Callable[..., np.ndarray]) -> None:
    there, gone, back = [frame(START)] * 13, [frame(None)] * 5, [frame(ELSEWHERE)] * 60
    tracks = follow(tracker(scan_regions=0), there + gone + back)
    assert tracks[-1].state is LOST


@pytest.mark.parametrize('regions', [0, 1, 3])
def test_scan_regions_sets_the_extra_searches_per_frame_while_lost(
    scripted_engine: Any, regions: int
) -> None:
    answers = [scripted_engine.seeing(score=0.9)] * 12 + [scripted_engine.seeing(score=0.1)]
    engine = scripted_engine(*answers)
    tracked = Tracker(engine, TrackerConfig(lost_threshold=0.8, scan_regions=regions))
    image = np.zeros((*FRAME, 3), np.uint8)
    tracked.init(image, START)
    searched = []
    for _ in range(16):
        before = len(engine.crops)
        track = tracked.update(image)
        searched.append(len(engine.crops) - before)
        assert all(seconds > 0 for seconds in tracked.stage_times)
    assert track.state is LOST
    assert searched[:13] == [1] * 13
    assert searched[-1] == 1 + regions


def test_size_of_a_lost_target_is_kept(scripted_engine: Any) -> None:
    answers = [scripted_engine.seeing(score=0.9)] * 12
    answers += [scripted_engine.seeing((0.5, 0.5, 0.9, 0.9), score=0.1)]
    tracked = Tracker(scripted_engine(*answers), TrackerConfig(lost_threshold=0.8, scan_regions=0))
    image = np.zeros((*FRAME, 3), np.uint8)
    tracked.init(image, START)
    tracks = [tracked.update(image) for _ in range(20)]
    first_lost = next(track for track in tracks if track.state is LOST)
    assert tracks[-1].box[2:] == first_lost.box[2:]


def test_redetection_candidate_takes_its_predicted_size(
    scripted_engine: Any,
) -> None:
    seeing = scripted_engine.seeing
    # Lost in the 13th frame; the 14th searches the last place first and then a scan region.
    answers = [seeing(score=0.9)] * 12 + [seeing(score=0.1)] * 2
    answers += [seeing((0.5, 0.5, 0.1, 0.2), score=0.9)]
    config = TrackerConfig(lost_threshold=0.8, scan_regions=1, size_smoothing=0.3)
    tracked = Tracker(scripted_engine(*answers), config)
    image = np.zeros((*FRAME, 3), np.uint8)
    tracked.init(image, START)
    tracks = [tracked.update(image) for _ in range(14)]
    assert tracks[-1].state is LOST
    assert tracks[-1].score == pytest.approx(0.9)
    side = 4 * 48  # of the search region of a 48 x 48 target
    assert tracks[-1].box[2:] == pytest.approx((0.1 * side, 0.2 * side), rel=0.01)


def test_new_target_does_not_inherit_the_lost_state(
    frame: Callable[..., np.ndarray],
) -> None:
    tracked = tracker()
    assert follow(tracked, [frame(START)] * 13 + [frame(None)] * 6)[-1].state is LOST
    tracked.init(frame(ELSEWHERE), ELSEWHERE)
    assert tracked.update(frame(ELSEWHERE)).state is TRACKING
