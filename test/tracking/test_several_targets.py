# SPDX-License-Identifier: Apache-2.0
"""Several targets in one session: identities, turns, and two that claim the same place."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.engines import EngineCard, Prediction, load_engine
from hcat_ros.models import load_model
from hcat_ros.tracking import TargetState, Tracker, TrackerConfig
from hcat_ros.tracking.frame_buffer import StampedFrame
from hcat_ros.tracking.session import TrackedFrame, TrackingSession
from hcat_ros.tracking.stream import Turn
from hcat_ros.tracking.target_requests import RequestOutcome, TargetRequest

INTERVAL = 33_000_000
PLACES = [Box(40.0 + 60 * n, 40.0, 20.0, 20.0) for n in range(6)]


class StillEngine:
    """Finds each target where it was; `scores` by template, in the order of naming."""

    card = EngineCard('still', 'double', '1', 'fp32', 128, 256, 16)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.templates = 0
        self.scores: dict[int, float] = {}
        self.shift: dict[int, float] = {}
        """Shift of a target to the right, as a share of the search region, by template."""
        self.searched: list[int] = []

    def template(self, crop: np.ndarray) -> int:
        self.templates += 1
        return self.templates - 1

    def search(self, crop: np.ndarray, features: int) -> Prediction:
        time.sleep(self.seconds)
        self.searched.append(features)
        box = [0.5 + self.shift.get(features, 0.0), 0.5, 0.25, 0.25]
        scores = np.full((16, 16), self.scores.get(features, 0.9))
        return Prediction(scores, np.tile(box, (256, 1)))


class Targets:
    """A session, frames for it, and the problems and outcomes that it reports."""

    def __init__(self, engine: Any, most: int, paced: bool = False, **config: float) -> None:
        self.problems: list[tuple[str, str]] = []
        self.outcomes: list[RequestOutcome] = []
        self.engine = engine
        self.session = TrackingSession(
            Tracker(engine, TrackerConfig(scan_regions=0, **config)),
            0,
            0.01,
            lambda kind, reason: self.problems.append((kind, reason)),
            iter('abcdefghij'),
            most,
            paced,
        )
        self.stamp = 0

    def frame(self, dropped: int = 0) -> list[TrackedFrame]:
        self.stamp += INTERVAL
        frame = StampedFrame(self.stamp, None, np.zeros((100, 400, 3), np.uint8), 'bgr8')
        return list(self.session.add_frame(frame, dropped))

    def name(self, box: Box) -> RequestOutcome:
        list(self.session.request(TargetRequest(box, 0, 'dog', self.outcomes.append)))
        return self.outcomes[-1]


def test_each_target_has_its_id_and_the_first_is_the_primary() -> None:
    targets = Targets(StillEngine(), 3)
    targets.frame()
    assert [targets.name(place).target_id for place in PLACES[:3]] == ['a', 'b', 'c']
    for _ in range(3):
        (tracked,) = targets.frame()
        assert (tracked.target_id, tracked.class_id) == ('a', 'dog')
        assert [one.target_id for one in tracked.others] == ['b', 'c']
        found = [tracked.track, *(one.track for one in tracked.others)]
        assert [one.box for one in found if one] == PLACES[:3]


def test_target_above_max_targets_is_refused() -> None:
    targets = Targets(StillEngine(), 2)
    targets.frame()
    for place in PLACES[:2]:
        targets.name(place)
    outcome = targets.name(PLACES[2])
    assert outcome.target_id == ''
    assert '2 targets are followed, the limit of max_targets: drop one' in outcome.reason
    assert [target.id for target in targets.session.targets] == ['a', 'b']
    targets.session.drop('a')
    assert targets.name(PLACES[2]).target_id == 'c'


def test_primary_is_selected_and_dropped_by_id() -> None:
    targets = Targets(StillEngine(), 3)
    session = targets.session
    targets.frame()
    for place in PLACES[:3]:
        targets.name(place)
    session.select_primary('c')
    (tracked,) = targets.frame()
    assert tracked.target_id == 'c'
    assert tracked.stage_times is session.targets[2].tracker.stage_times
    assert [one.target_id for one in tracked.others] == ['a', 'b']
    session.drop('c')
    (tracked,) = targets.frame()
    assert (tracked.target_id, [one.target_id for one in tracked.others]) == ('a', ['b'])
    for action in (session.select_primary, session.drop):
        with pytest.raises(ValueError, match="no target 'c' is followed; followed targets: a, b"):
            action('c')
    session.reset()
    assert not session.has_target
    assert targets.frame() == []
    with pytest.raises(ValueError, match='followed targets: none'):
        session.drop('a')


def test_other_targets_take_turns_and_lost_ones_get_fewer_updates() -> None:
    """A search takes over half of a frame interval: the primary and one other a frame."""
    engine = StillEngine(seconds=0.02)
    targets = Targets(engine, 4, paced=True, lost_threshold=0.5, uncertain_threshold=0.6)
    targets.frame()
    for place in PLACES[:4]:
        targets.name(place)
    for _ in range(20):
        targets.frame()
    assert targets.session.updates_a_frame == 2
    engine.searched.clear()
    for _ in range(30):
        (tracked,) = targets.frame()
        assert len(tracked.others) == 1
    assert Counter(engine.searched) == {0: 30, 1: 10, 2: 10, 3: 10}
    engine.scores[3] = 0.1
    for _ in range(30):
        targets.frame()
    assert targets.session.targets[3].is_lost
    engine.searched.clear()
    for _ in range(50):
        targets.frame()
    turns = Counter(engine.searched)
    assert turns[0] == sum(turns.values()) - 50 == 50
    assert turns[1] == pytest.approx(turns[2], abs=1)
    assert 0 < turns[3] < 0.75 * turns[1]


def test_target_with_the_better_history_keeps_a_contested_place() -> None:
    """The second drifts onto the first, whose score falls less; it is put back as uncertain."""
    engine = StillEngine()
    targets = Targets(engine, 2)
    targets.frame()
    first, second = Box(100.0, 40.0, 20.0, 20.0), Box(124.0, 40.0, 20.0, 20.0)
    targets.name(first)
    targets.name(second)
    for _ in range(12):
        targets.frame()
    engine.scores[1] = 0.85
    engine.shift[1] = -12 / 80  # 12 pixels of a region of 80
    for _ in range(6):
        (tracked,) = targets.frame()
    assert tracked.track is not None
    assert tracked.track.box == first
    assert tracked.track.state is TargetState.TRACKING
    (other,) = tracked.others
    assert other.track.state is TargetState.UNCERTAIN
    assert other.track.box.x >= 112 - 1e-6, 'not where the first is'
    engine.scores[1], engine.shift[1] = 0.9, 0.0
    for _ in range(6):
        (tracked,) = targets.frame()
    assert tracked.others[0].track.state is TargetState.TRACKING


def test_a_lost_target_is_found_in_a_detectors_box_by_its_own_template() -> None:
    engine = StillEngine()
    targets = Targets(engine, 2, lost_threshold=0.5, uncertain_threshold=0.6)
    session = targets.session
    targets.frame()
    for place in PLACES[:2]:
        targets.name(place)
    for _ in range(12):
        targets.frame()
    engine.scores[1] = 0.2
    for _ in range(5):
        targets.frame()
    assert [target.is_lost for target in session.targets] == [False, True]
    assert not session.find_again(PLACES[4], 0), 'its template does not fit what is there'
    engine.scores[1] = 0.9
    assert not session.find_again(PLACES[4], 10**15), 'of no image that is here'
    assert session.find_again(PLACES[4], targets.stamp)
    (tracked,) = targets.frame()
    assert tracked.others[0].target_id == 'b'
    assert tracked.others[0].track.box == PLACES[4]
    assert tracked.others[0].track.state is TargetState.TRACKING
    assert not session.find_again(PLACES[5], 0), 'nobody is lost'


def test_settings_apply_to_all_targets() -> None:
    targets = Targets(StillEngine(), 2)
    targets.frame()
    for place in PLACES[:2]:
        targets.name(place)
    targets.session.configure(window_penalty=0.7)
    penalties = [one.tracker.config.window_penalty for one in targets.session.targets]
    assert penalties == [0.7, 0.7]
    targets.session.drop('a')
    targets.name(PLACES[2])
    assert targets.session.targets[-1].tracker.config.window_penalty == 0.7


@pytest.mark.slow
@pytest.mark.parametrize('seed', [0, 1, 2])
def test_crossing_targets_keep_their_identities(seed: int) -> None:
    """Two similar targets, one passing in front of the other, with the shipped model."""
    pytest.importorskip('onnxruntime', reason='an engine runs here')
    from bench_targets import Crossing, follow

    model = load_model('hcat_base')
    engine = load_engine(model, 'onnxruntime', 'int8', threads=1)
    config = TrackerConfig(**model.card.tracking)
    found = follow(Crossing(2, seed), range(2), 150, engine, config)
    assert found.swaps == 0
    assert min(found.overlaps) > 0.7


def test_dropped_frames_do_not_count_as_a_slow_camera() -> None:
    """Drops once looked like a slow camera, whose long interval has time for more updates."""
    engine = StillEngine(seconds=0.1)
    targets = Targets(engine, 6, paced=True)
    targets.frame()
    for place in PLACES:
        targets.name(place)
    for dropped, expected in ((2, 2), (0, 6)):
        for _ in range(16):
            targets.stamp += 9 * 10**8 - INTERVAL  # 0.9 s: two of three dropped, or a slow camera
            targets.frame(dropped)
        assert targets.session.updates_a_frame == expected
    targets.session.begin_anew(Turn.JUMPED)
    assert targets.session.updates_a_frame == 2, 'before the interval is known again'
