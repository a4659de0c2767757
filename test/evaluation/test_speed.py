# SPDX-License-Identifier: Apache-2.0
import os
from typing import Any

import numpy as np
import pytest

from hcat_ros.engines.timing import LEAD
from hcat_ros.evaluation.speed import BLOCK, measure, pin_to_processors, quantiles
from hcat_ros.tracking import Tracker

needs_affinity = pytest.mark.skipif(
    not hasattr(os, 'sched_setaffinity'), reason='needs a system with processor affinity'
)


@needs_affinity
def test_the_affinity_is_pinned_only_inside_the_context() -> None:
    before = os.sched_getaffinity(0)
    with pin_to_processors(1) as processors:
        assert os.sched_getaffinity(0) == set(processors)
        assert len(processors) == 1
        assert set(processors) <= before
    assert os.sched_getaffinity(0) == before


@needs_affinity
def test_the_affinity_is_restored_after_an_error() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(ValueError, match='within'), pin_to_processors(1):
        raise ValueError('within')
    assert os.sched_getaffinity(0) == before


@needs_affinity
def test_more_threads_than_processors_use_all_processors() -> None:
    before = os.sched_getaffinity(0)
    with pin_to_processors(10_000) as processors:
        assert set(processors) == before


@pytest.mark.parametrize('missing', [False, True])
def test_nothing_is_pinned_without_threads_or_without_support(
    monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    if missing:
        monkeypatch.delattr(os, 'sched_setaffinity', raising=False)
    with pin_to_processors(1 if missing else 0) as processors:
        assert processors == []


def test_trackers_take_turns_in_blocks_and_warm_up_frames_do_not_count(
    scripted_engine: Any,
) -> None:
    calls: list[str] = []

    class Engine(scripted_engine):  # type: ignore[misc,valid-type]
        def __init__(self, name: str) -> None:
            super().__init__(self.seeing())
            self.name = name

        def search(self, crop: np.ndarray, features: str) -> Any:
            calls.append(self.name)
            return super().search(crop, features)

    frames = BLOCK + 2
    frame = np.zeros((240, 320, 3), np.uint8)
    trackers = [Tracker(Engine(name)) for name in 'ab']
    times = measure(trackers, frame, (100, 80, 40, 60), frames)
    assert [stages.shape for stages in times.stages] == [(frames, 3)] * 2
    assert all((stages >= 0).all() for stages in times.stages)
    # After a warm-up round of any length: a round of a full block, then the remaining frames.
    expected = ['b'] * (LEAD + BLOCK) + ['a'] * (2 * LEAD + BLOCK + 2) + ['b'] * (LEAD + 2)
    assert calls[-len(expected) :] == expected
    assert trackers[0].engine.templates, 'each block begins with the target named anew'


def test_quantiles_are_in_ms_and_update_is_the_sum_of_the_stages() -> None:
    times = np.array([(0.001, 0.010, 0.002), (0.001, 0.030, 0.002), (0.003, 0.020, 0.002)])
    found = quantiles(times)
    assert found['search'].median == pytest.approx(20)
    assert found['search'].p95 == pytest.approx(29)
    assert found['crop'].median == pytest.approx(1)
    assert found['decode'] == pytest.approx((2, 2, 2))
    assert found['update'].median == pytest.approx(25)
