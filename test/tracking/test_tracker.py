# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hcat_ros.engines import EngineError, Prediction
from hcat_ros.tracking import TargetState, Tracker, TrackerConfig, warm_up
from hcat_ros.tracking.window import hanning_window

TARGET = (100.0, 80.0, 60.0, 80.0)  # centre (130, 120), search crop 280 px


def reference_answer(seed: int) -> Prediction:
    """The scripted network output of golden/steps.json."""
    rng = np.random.default_rng([777, seed])
    logits = rng.normal(0, 2, (256, 2))
    boxes = np.hstack((rng.uniform(0.2, 0.8, (256, 2)), rng.uniform(0.05, 0.6, (256, 2))))
    scores = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    return Prediction(scores.reshape(16, 16), boxes)


@pytest.mark.parametrize('index', range(24))
def test_tracks_match_the_reference(
    golden: Path, weights: ModuleType, scripted_engine: Any, index: int
) -> None:
    case = json.loads((golden / 'steps.json').read_text())['cases'][index]
    frame, weight = weights.image(360, 640, 5), case['window_penalty']
    answers = [reference_answer(seed) for seed in case['output_seeds']]
    tracker = Tracker(scripted_engine(*answers), TrackerConfig(window_penalty=weight))
    tracker.init(frame, case['init_box_xywh'], 'rgb8')
    steps = zip(answers, case['boxes_xywh'], case['windowed_scores'], strict=True)
    for answer, box, windowed in steps:
        track = tracker.update(frame, 'rgb8')
        assert_allclose(track.box, box, atol=1e-3, rtol=0)
        # The same cell: the raw score and the window there add up to the reference's score.
        cell = np.flatnonzero(answer.scores == track.score)
        assert cell.size == 1
        window = hanning_window(16).flat[cell[0]]
        assert (1 - weight) * track.score + weight * window == pytest.approx(windowed, abs=1e-5)


def test_a_new_tracker_has_no_target(scripted_engine: Any) -> None:
    tracker = Tracker(scripted_engine(scripted_engine.seeing()))
    assert not tracker.has_target
    with pytest.raises(RuntimeError, match=r'call init\(frame, box\) before update'):
        tracker.update(np.zeros((240, 320, 3), np.uint8))


def test_a_dropped_target_needs_another_init(scripted_engine: Any) -> None:
    tracker = Tracker(scripted_engine(scripted_engine.seeing()))
    frame = np.zeros((240, 320, 3), np.uint8)
    tracker.init(frame, TARGET)
    tracker.drop_target()
    assert not tracker.has_target
    with pytest.raises(RuntimeError, match='no target'):
        tracker.update(frame)
    tracker.init(frame, TARGET)
    assert tracker.update(frame).score == 0.9


def test_predicted_box_is_mapped_from_search_region_to_frame(scripted_engine: Any) -> None:
    tracker = Tracker(scripted_engine(scripted_engine.seeing((0.55, 0.4, 0.25, 0.2))))
    frame = np.zeros((240, 320, 3), np.uint8)
    tracker.init(frame, TARGET)
    assert tracker.has_target
    track = tracker.update(frame)
    # c + s (cx, cy) - s / 2 with s = 280
    assert (track.box.cx, track.box.cy) == pytest.approx((130 + 14, 120 - 28))
    assert track.box[2:] == pytest.approx((70, 56))
    assert track.state is TargetState.TRACKING


def test_score_excludes_the_window_penalty(scripted_engine: Any) -> None:
    answer = scripted_engine.seeing(score=0.25, cell=(8, 8))
    tracker = Tracker(scripted_engine(answer), TrackerConfig(window_penalty=0.9))
    frame = np.zeros((240, 320, 3), np.uint8)
    tracker.init(frame, TARGET)
    assert tracker.update(frame).score == 0.25


def test_window_penalty_1_picks_a_centre_cell_whatever_the_scores(scripted_engine: Any) -> None:
    boxes = np.zeros((256, 4))
    boxes[:, 2:] = 0.25
    rows, columns = np.divmod(np.arange(256), 16)
    boxes[:, 0], boxes[:, 1] = (columns + 0.5) / 16, (rows + 0.5) / 16
    scores = np.zeros((16, 16))
    scores[0, 0] = 1.0
    engine = scripted_engine(Prediction(scores, boxes))
    frame = np.zeros((480, 640, 3), np.uint8)
    moved = []
    for weight in (1.0, 0.0):
        tracker = Tracker(engine, TrackerConfig(window_penalty=weight))
        tracker.init(frame, (300, 200, 60, 80))
        box = tracker.update(frame).box
        moved.append(max(abs(box.cx - 330), abs(box.cy - 240)))
    assert moved[0] == pytest.approx(280 / 32)  # half a cell
    assert moved[1] == pytest.approx(280 * 15 / 32)  # to the corner


@pytest.mark.parametrize('share', [1.0, 0.3])
def test_size_smoothing_mixes_old_and_measured_size(scripted_engine: Any, share: float) -> None:
    engine = scripted_engine(scripted_engine.seeing((0.5, 0.5, 0.5, 0.1)))
    tracker = Tracker(engine, TrackerConfig(size_smoothing=share))
    frame = np.zeros((480, 640, 3), np.uint8)
    tracker.init(frame, (300, 200, 60, 80))
    box = tracker.update(frame).box
    assert box.w == pytest.approx((1 - share) * 60 + share * 140)
    assert box.h == pytest.approx((1 - share) * 80 + share * 28)
    assert (box.cx, box.cy) == pytest.approx((330, 240))  # the position is not smoothed


@pytest.mark.parametrize(
    ('answer', 'centre', 'size'),
    [
        ((-9, 0.5, 0.25, 0.25), (0, 120), (70, 70)),
        ((9, 0.5, 0.25, 0.25), (320, 120), (70, 70)),
        ((0.5, -9, 0.25, 0.25), (130, 0), (70, 70)),
        ((0.5, 9, 0.25, 0.25), (130, 240), (70, 70)),
        ((0.5, 0.5, 0.001, 0.001), (130, 120), (10, 10)),
        ((0.5, 0.5, 3, 3), (130, 120), (320, 240)),
    ],
)
def test_centre_and_size_stay_within_the_frame(
    scripted_engine: Any,
    answer: tuple[float, ...],
    centre: tuple[float, float],
    size: tuple[float, float],
) -> None:
    tracker = Tracker(scripted_engine(scripted_engine.seeing(answer)))
    frame = np.zeros((240, 320, 3), np.uint8)
    tracker.init(frame, TARGET)
    box = tracker.update(frame).box
    assert (box.cx, box.cy) == pytest.approx(centre)
    assert box[2:] == pytest.approx(size)


def test_a_box_partly_outside_of_the_frame_is_followed(
    scripted_engine: Any, picture: Callable[..., np.ndarray]
) -> None:
    engine = scripted_engine(scripted_engine.seeing())
    tracker = Tracker(engine)
    frame = picture(240, 320)
    tracker.init(frame, (-40, -30, 60, 50))
    fill = np.array(frame.mean(axis=(0, 1)))[::-1]
    assert_allclose(engine.templates[0][0, 0], fill, atol=1)
    box = tracker.update(frame).box
    assert (box.cx, box.cy) == pytest.approx((0, 0))


def test_the_tracker_is_deterministic(
    scripted_engine: Any, picture: Callable[..., np.ndarray]
) -> None:
    def run() -> list[Any]:
        engine = scripted_engine(*(reference_answer(seed) for seed in range(5)))
        tracker = Tracker(engine)
        tracker.init(picture(240, 320, 0), TARGET)
        tracks = [tracker.update(picture(240, 320, i)) for i in range(1, 6)]
        return [tracks, [crop.tobytes() for crop in engine.crops]]

    assert run() == run()


def test_one_engine_serves_several_trackers(scripted_engine: Any) -> None:
    engine = scripted_engine(scripted_engine.seeing())
    frame = np.zeros((240, 320, 3), np.uint8)
    first, second = Tracker(engine), Tracker(engine)
    first.init(frame, TARGET)
    second.init(frame, TARGET)
    first.update(frame)
    second.update(frame)
    first.update(frame)
    assert engine.searched == ['features 1', 'features 2', 'features 1']


@pytest.mark.parametrize(
    ('settings', 'reason'),
    [
        ({'window_penalty': -0.01}, 'window_penalty -0.01: expected 0 to 1'),
        ({'window_penalty': 1.5}, 'window_penalty 1.5: expected 0 to 1'),
        ({'window_penalty': float('nan')}, 'window_penalty nan'),
        ({'size_smoothing': 0.0}, 'size_smoothing 0.0: expected above 0, at most 1'),
        ({'size_smoothing': 1.1}, 'size_smoothing 1.1'),
        ({'lost_threshold': -1}, 'lost_threshold -1: expected 0 to 1'),
        ({'lost_threshold': 2}, 'lost_threshold 2: expected 0 to 1'),
        ({'uncertain_threshold': 1.01}, 'uncertain_threshold 1.01: expected 0 to 1'),
        ({'found_threshold': float('nan')}, 'found_threshold nan: expected 0 to 1'),
        ({'scan_regions': 17}, 'scan_regions 17: expected 0 to 16'),
        ({'box_correction': 1.2}, 'box_correction 1.2: expected 0 to 1'),
    ],
)
def test_settings_out_of_range_are_refused_and_the_old_ones_kept(
    scripted_engine: Any, settings: dict[str, float], reason: str
) -> None:
    with pytest.raises(ValueError) as error:
        TrackerConfig(**settings)
    assert reason in str(error.value)
    tracker = Tracker(scripted_engine(), TrackerConfig(window_penalty=0.3))
    with pytest.raises(ValueError) as error:
        tracker.configure(**settings)
    assert reason in str(error.value)
    assert tracker.config == TrackerConfig(window_penalty=0.3)


def test_configure_takes_effect_on_the_next_update(scripted_engine: Any) -> None:
    tracker = Tracker(scripted_engine(scripted_engine.seeing((0.5, 0.5, 0.5, 0.5), score=0.5)))
    frame = np.zeros((480, 640, 3), np.uint8)
    tracker.init(frame, (300, 200, 60, 80))
    tracker.configure(size_smoothing=0.5)
    track = tracker.update(frame)
    assert track.box.w == pytest.approx(0.5 * 60 + 0.5 * 140)


def test_default_settings_are_those_of_the_authors_results() -> None:
    assert TrackerConfig() == TrackerConfig(0.42, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ('share', 'factor'), [(0.0, 1.0), (0.5, 1.25**0.5), (1.0, 1.25)], ids=['none', 'half', 'all']
)
def test_boxes_are_corrected_by_the_difference_from_the_init_box(
    scripted_engine: Any, share: float, factor: float
) -> None:
    # 0.2 of the 280 pixels of the search region are 56, where the init box has 70.
    first, then = (0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0.2, 0.15)
    views = 5 if share else 0
    engine = scripted_engine(*(scripted_engine.seeing(box) for box in [first] * views + [then]))
    tracker = Tracker(engine, TrackerConfig(box_correction=share))
    frame = np.zeros((480, 640, 3), np.uint8)
    tracker.init(frame, (300, 200, 70, 70))
    assert len(engine.crops) == views
    box = tracker.update(frame).box
    assert (box.cx, box.cy) == pytest.approx((335, 235))
    assert (box.w, box.h) == pytest.approx((56 * factor, 42 * factor))
    tracker.configure(box_correction=0.0)
    tracker.init(frame, (300, 200, 70, 70))
    assert tracker.update(frame).box[2:] == pytest.approx((56, 42))


def test_init_box_cut_off_by_the_frame_is_not_corrected(scripted_engine: Any) -> None:
    engine = scripted_engine(scripted_engine.seeing((0.5, 0.5, 0.2, 0.2)))
    tracker = Tracker(engine, TrackerConfig(box_correction=1.0))
    tracker.init(np.zeros((480, 640, 3), np.uint8), (600, 200, 70, 70))
    assert engine.crops == [], 'what the network sees of it is smaller for another reason'


def test_engine_failure_on_the_first_view_keeps_the_old_target(scripted_engine: Any) -> None:
    seeing = scripted_engine.seeing((0.5, 0.5, 0.2, 0.2))
    engine = scripted_engine(*[seeing] * 5, EngineError('out of memory'), seeing)
    tracker = Tracker(engine, TrackerConfig(box_correction=1.0))
    frame = np.zeros((480, 640, 3), np.uint8)
    tracker.init(frame, (300, 200, 70, 70))
    with pytest.raises(EngineError, match='out of memory'):
        tracker.init(frame, (20, 20, 100, 40))
    box = tracker.update(frame).box
    assert box == pytest.approx((300, 200, 70, 70))
    assert engine.searched[-1] == 'features 1'


def test_each_update_measures_its_stage_times(scripted_engine: Any) -> None:
    tracker = Tracker(scripted_engine(scripted_engine.seeing()))
    frame = np.zeros((240, 320, 3), np.uint8)
    tracker.init(frame, TARGET)
    assert tracker.stage_times == (0, 0, 0)
    tracker.update(frame)
    assert all(seconds > 0 for seconds in tracker.stage_times)


def test_warm_up_runs_template_and_search(scripted_engine: Any) -> None:
    engine = scripted_engine(scripted_engine.seeing())
    warm_up(engine)
    assert [crop.shape for crop in engine.templates] == [(128, 128, 3)]
    assert {crop.shape for crop in engine.crops} == {(256, 256, 3)}
