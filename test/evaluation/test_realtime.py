# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import os

import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.evaluation import realtime
from hcat_ros.evaluation.one_pass import one_pass
from hcat_ros.evaluation.realtime import Latency, RealTimeRule, real_time_pass
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.tracking import TargetState, Track

START = (0.0, 5.0, 20.0, 10.0)


class Numbers:
    """A tracker that reads the frame number n from the image and returns a box at x = n."""

    def __init__(self, lost: tuple[int, ...] = ()) -> None:
        self.lost = lost
        self.seen: list[int] = []

    def init(self, frame: np.ndarray, box: object) -> None:
        self.seen = []

    def update(self, frame: np.ndarray) -> Track:
        number = int(frame[0, 0, 0])
        self.seen.append(number)
        state = TargetState.LOST if number in self.lost else TargetState.TRACKING
        return Track(Box(float(number), *START[1:]), number / 100, state)


def frames(count: int) -> list[np.ndarray]:
    return [np.full((4, 4, 3), number, np.uint8) for number in range(count)]


def run(
    rule: RealTimeRule, count: int = 13, tracker: Numbers | None = None
) -> tuple[list[int], SequenceResult]:
    """Return the frames that were tracked, and the result."""
    tracker = tracker or Numbers()
    result = real_time_pass(tracker, frames(count), START, rule, 'a name')
    return tracker.seen, result


def shown(result: SequenceResult) -> list[float]:
    """Return for each frame the number of the frame whose answer counts."""
    return result.boxes[:, 0].tolist()


def test_a_fast_tracker_scores_as_offline() -> None:
    seen, result = run(RealTimeRule(30, Latency(1 / 30)))
    assert seen == list(range(1, 13))
    offline = one_pass(Numbers(), frames(13), START)
    for field in ('boxes', 'scores', 'lost'):
        np.testing.assert_array_equal(getattr(result, field), getattr(offline, field))


def test_frames_that_arrive_while_the_tracker_is_busy_are_skipped() -> None:
    # In frame periods: frame 1 runs from 1 to 3.5, then frame 3 until 6, frame 6 until 8.5, ...
    seen, result = run(RealTimeRule(10, Latency(0.25)))
    assert seen == [1, 3, 6, 8, 11]
    # An answer at time 3.5 counts for frame 3, which lasts from 3 to 4.
    assert shown(result) == [0, 0, 0, 1, 1, 3, 3, 3, 6, 6, 8, 8, 8]
    assert np.isfinite(result.seconds).tolist() == [n in (0, *seen) for n in range(13)]
    assert result.seconds[1] == 0.25


def test_without_permitted_latency_an_answer_counts_from_the_next_frame() -> None:
    seen, result = run(RealTimeRule(10, Latency(0.05), permitted=0.0), 6)
    assert seen == [1, 2, 3, 4, 5]
    assert shown(result) == [0, 0, 1, 2, 3, 4]
    seen, result = run(RealTimeRule(10, Latency(0.05), permitted=0.5), 6)
    assert shown(result) == [0, 1, 2, 3, 4, 5], 'half a frame late, and as much is permitted'


def test_a_tracker_slower_than_the_sequence_never_answers() -> None:
    seen, result = run(RealTimeRule(10, Latency(9.0)), 5)
    assert seen == [1]
    assert shown(result) == [0, 0, 0, 0, 0]
    assert np.isnan(result.scores).all()


def test_the_predictor_follows_a_constant_velocity() -> None:
    rule = RealTimeRule(10, Latency(0.25), predict='constant_velocity')
    _, result = run(rule, 60)
    _, plain = run(RealTimeRule(10, Latency(0.25)), 60)
    truth = np.arange(60)
    assert np.abs(result.boxes[30:, 0] - truth[30:]).max() < 0.01
    assert np.abs(plain.boxes[30:, 0] - truth[30:]).mean() > 1.5
    assert (result.boxes[:, 2:] == START[2:]).all()


def test_a_lost_target_is_not_predicted() -> None:
    rule = RealTimeRule(10, Latency(0.25), predict='constant_velocity')
    _, result = run(rule, 13, Numbers(lost=tuple(range(6, 99))))
    assert result.lost.tolist() == [False] * 8 + [True] * 5
    assert shown(result)[8:] == [6, 6, 8, 8, 8]


def test_random_latencies_are_reproducible() -> None:
    rule = RealTimeRule(30, Latency(0.04, 0.01))
    one, other = run(rule, 200)[1], run(rule, 200)[1]
    np.testing.assert_array_equal(one.seconds[1:], other.seconds[1:])
    drawn = list(itertools.islice(rule.latencies('x'), 2000))
    assert np.mean(drawn) == pytest.approx(0.04, rel=0.05)
    assert np.std(drawn) == pytest.approx(0.01, rel=0.1)
    assert list(itertools.islice(rule.latencies('y'), 3)) != drawn[:3]


def test_latencies_are_drawn_for_names_that_are_not_utf_8() -> None:
    rule = RealTimeRule(30, Latency(0.04, 0.01))
    one, other = (next(rule.latencies(os.fsdecode(name))) for name in (b'caf\xe9', b'caf\xe8'))
    assert one != other


def test_a_huge_latency_skips_all_later_frames() -> None:
    seen, _ = run(RealTimeRule(1e300, Latency(1e10)))
    assert len(seen) == 1


def test_the_measured_latency_is_the_time_of_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 0.25)  # each reading is a quarter of a second later
    monkeypatch.setattr(realtime.time, 'perf_counter', lambda: next(clock))
    seen, result = run(RealTimeRule(10))
    assert seen == [1, 3, 6, 8, 11]
    assert result.seconds[[1, 3, 6]].tolist() == [0.25] * 3


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'fps': 0}, '0 frames a second: expected more than 0'),
        ({'fps': float('nan')}, 'nan frames a second'),
        ({'fps': float('inf')}, 'inf frames a second: expected more than 0 and a finite number'),
        ({'fps': 30, 'latency': Latency(float('inf'))}, 'latency inf ms .* both finite'),
        ({'fps': 30, 'latency': Latency(0.01, float('nan'))}, 'a deviation of nan ms'),
        ({'fps': 30, 'permitted': 2}, 'permitted latency 2: expected 0 to 1'),
        ({'fps': 30, 'predict': 'magic'}, "predict 'magic': expected none or constant_velocity"),
        ({'fps': 30, 'latency': Latency(-0.01)}, 'latency -10 ms'),
        ({'fps': 30, 'latency': Latency(0.01, -1)}, 'a deviation of -1000 ms'),
    ],
)
def test_an_invalid_real_time_rule_is_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        RealTimeRule(**values)
