# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hcat_ros.evaluation.clips import Clip, read_clips
from hcat_ros.evaluation.passes import START_NOISE, Task, run_passes, started
from hcat_ros.tracking import TrackerConfig


@pytest.fixture
def clips(tmp_path: Path, sequence: Callable[..., Path]) -> list[Clip]:
    for number in range(2):
        sequence(tmp_path / 'video' / f'clip_{number}', 4 + number, number, absent=(2,))
    return read_clips('plain', tmp_path / 'video')


def task(clip: Clip, start: int = 0, penalty: float = 0.2) -> Task:
    config = TrackerConfig(window_penalty=penalty)
    return Task('hcat_lite0', 'onnxruntime', 'auto', config, clip, start)


def test_results_come_in_order_and_do_not_depend_on_the_number_of_processes(
    clips: list[Clip],
) -> None:
    tasks = [task(clip, start) for clip in clips for start in (0, 1)]
    alone, shared = list(run_passes(tasks)), list(run_passes(tasks, jobs=2))
    assert [len(result.scores) for result in alone] == [3, 3, 4, 4]
    for one, other in zip(alone, shared, strict=True):
        assert one.ao == other.ao
        assert (one.scores == other.scores).all()
    for result in alone:
        assert np.isnan(result.overlaps).tolist() == [False, True] + [False] * (
            len(result.overlaps) - 2
        ), 'the second answer is for the frame without a target'
        assert 0 < result.ao <= 1


def test_another_start_is_another_pass(clips: list[Clip]) -> None:
    exact, varied = run_passes([task(clips[0]), task(clips[0], 1)])
    assert (exact.scores != varied.scores).any()


def test_the_first_start_is_the_true_box_and_others_are_near(clips: list[Clip]) -> None:
    truth = clips[0].boxes[0]
    assert started(clips[0], 0).tolist() == truth.tolist()
    starts = np.array([started(clips[0], number) for number in range(1, 400)])
    assert started(clips[0], 7).tolist() == starts[6].tolist(), 'the same at every call'
    centres = starts[:, :2] + starts[:, 2:] / 2 - (truth[:2] + truth[2:] / 2)
    sizes = np.log(starts[:, 2:] / truth[2:])
    for found in (centres / truth[2:], sizes):
        assert np.abs(found.mean(axis=0)).max() < 0.3 * START_NOISE
        assert found.std(axis=0) == pytest.approx(START_NOISE, rel=0.15)


def test_a_frame_that_cannot_be_read_is_named(clips: list[Clip]) -> None:
    path = clips[0].images[1]
    path.write_bytes(b'no image')
    with pytest.raises(ValueError, match=rf'{path.name} is not a readable image'):
        list(run_passes([task(clips[0])]))


def test_no_process_is_refused(clips: list[Clip]) -> None:
    with pytest.raises(ValueError, match='--jobs 0: expected 1 or more'):
        list(run_passes([task(clips[0])], jobs=0))
