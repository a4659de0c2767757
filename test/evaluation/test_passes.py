# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='an engine runs here')


from hcat_ros.evaluation.clips import Clip, read_clips
from hcat_ros.evaluation.passes import (
    START_NOISE,
    Frames,
    PassTask,
    resolve_tracker,
    run_passes,
    start_box,
)
from hcat_ros.evaluation.realtime import Latency, RealTimeRule
from hcat_ros.evaluation.results import read_result
from hcat_ros.evaluation.trackers import HcatSpec, MakeTracker, StillSpec
from hcat_ros.models import ModelError

HCAT = HcatSpec('hcat_base', 'onnxruntime', 'fp32')


@pytest.fixture
def clips(tmp_path: Path, sequence: Callable[..., Path]) -> list[Clip]:
    for number in range(2):
        sequence(tmp_path / 'video' / f'clip_{number}', 4 + number, number, absent=(2,))
    return read_clips('plain', tmp_path / 'video')


def test_results_are_in_order_and_independent_of_the_number_of_processes(
    clips: list[Clip],
) -> None:
    tasks = [PassTask(HCAT, clip, start) for clip in clips for start in (0, 1)]
    alone, shared = list(run_passes(tasks)), list(run_passes(tasks, jobs=2))
    assert [len(result.scores) for result in alone] == [4, 4, 5, 5]
    for one, other in zip(alone, shared, strict=True):
        for field in ('boxes', 'scores', 'lost'):
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_another_start_box_gives_another_result(clips: list[Clip]) -> None:
    exact, varied = run_passes([PassTask(HCAT, clips[0]), PassTask(HCAT, clips[0], 1)])
    assert (exact.scores[1:] != varied.scores[1:]).any()


def test_start_0_is_the_true_box_and_other_starts_are_near_it(clips: list[Clip]) -> None:
    truth = clips[0].boxes[0]
    assert start_box(clips[0], 0).tolist() == truth.tolist()
    starts = np.array([start_box(clips[0], number) for number in range(1, 400)])
    assert start_box(clips[0], 7).tolist() == starts[6].tolist(), 'the same at every call'
    centres = starts[:, :2] + starts[:, 2:] / 2 - (truth[:2] + truth[2:] / 2)
    sizes = np.log(starts[:, 2:] / truth[2:])
    for found in (centres / truth[2:], sizes):
        assert np.abs(found.mean(axis=0)).max() < 0.3 * START_NOISE
        assert found.std(axis=0) == pytest.approx(START_NOISE, rel=0.15)


def test_a_real_time_pass_skips_frames(clips: list[Clip]) -> None:
    rule = RealTimeRule(30, Latency(2 / 30))
    (result,) = run_passes([PassTask(HCAT, clips[1], real_time=rule)])
    assert np.isnan(result.seconds).tolist() == [False, False, True, False, True]


def test_stored_results_are_reused(clips: list[Clip], tmp_path: Path) -> None:
    kept = tmp_path / 'kept' / 'clip.csv'
    (first,) = run_passes([PassTask(StillSpec(), clips[0], file=kept)])
    np.testing.assert_array_equal(read_result(kept).boxes, first.boxes)
    text = kept.read_text()
    kept.write_text(text.replace('20.0,', '21.0,').replace('0,21.0,', '0,20.0,', 1))
    (again,) = run_passes([PassTask(StillSpec(), clips[0], file=kept)])
    assert again.boxes[:, 0].tolist() == [20, 21, 21, 21], 'read, not run'
    with pytest.raises(ValueError, match=r'clip.csv has 4 rows, clip_1 has 5 frames'):
        list(run_passes([PassTask(StillSpec(), clips[1], file=kept)]))


def test_stored_results_from_another_first_box_are_refused(
    clips: list[Clip], tmp_path: Path
) -> None:
    kept = tmp_path / 'clip.csv'
    list(run_passes([PassTask(StillSpec(), clips[0], 3, file=kept)]))
    list(run_passes([PassTask(StillSpec(), clips[0], 3, file=kept)]))
    with pytest.raises(ValueError, match=r'clip\.csv started from the box .*, the first box of '):
        list(run_passes([PassTask(StillSpec(), clips[0], 4, file=kept)]))
    corrected = replace(clips[0], boxes=np.add(clips[0].boxes, [0, 0, 0, 1]))
    list(run_passes([PassTask(StillSpec(), clips[0], file=tmp_path / 'true.csv')]))
    with pytest.raises(ValueError, match=r'box 20 30 32 24, .* is 20 30 32 25: .*--restart'):
        list(run_passes([PassTask(StillSpec(), corrected, file=tmp_path / 'true.csv')]))


def test_a_killed_run_resumes_where_it_stopped(
    tmp_path: Path, sequence: Callable[..., Path]
) -> None:
    for number in range(6):
        sequence(tmp_path / 'video' / f'clip_{number}', 9, number)
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from hcat_ros.evaluation import passes
        from hcat_ros.evaluation.clips import read_clips
        from hcat_ros.evaluation.trackers import HcatSpec
        spec = HcatSpec('hcat_base', 'onnxruntime', 'fp32')
        clips = read_clips('plain', Path(sys.argv[1]))
        out = Path(sys.argv[2])
        tasks = [passes.PassTask(spec, clip, file=out / f'{clip.name}.csv') for clip in clips]
        list(passes.run_passes(tasks, 1))
    """)
    killed, whole = tmp_path / 'killed', tmp_path / 'whole'
    words = [sys.executable, '-c', script, str(tmp_path / 'video')]
    running = subprocess.Popen([*words, str(killed)], start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(killed.glob('*.csv')) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    done = {path: path.stat().st_mtime_ns for path in killed.glob('*.csv')}
    assert done, 'it was killed before its first result'
    subprocess.run([*words, str(killed)], check=True)
    subprocess.run([*words, str(whole)], check=True)
    assert len(list(killed.glob('*.csv'))) == 6
    for path, when in done.items():
        assert path.stat().st_mtime_ns == when
    for path in killed.glob('*.csv'):
        one, other = read_result(path), read_result(whole / path.name)
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_an_interrupted_run_prints_no_traceback_of_the_worker_pool(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C comes while some passes run and others wait."""
    failures: list[Any] = []
    monkeypatch.setattr(threading, 'excepthook', failures.append)
    before = set(threading.enumerate())
    running = run_passes([PassTask(StillSpec(), clip, n) for n in range(200) for clip in clips], 2)
    next(running)
    threads = set(threading.enumerate()) - before
    assert threads
    with pytest.raises(KeyboardInterrupt):
        running.throw(KeyboardInterrupt())  # type: ignore[attr-defined]
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_a_frame_that_cannot_be_read_is_named(clips: list[Clip]) -> None:
    path = clips[0].images[1]
    path.write_bytes(b'no image')
    with pytest.raises(ValueError, match=rf'{path.name} is not a readable image'):
        list(run_passes([PassTask(StillSpec(), clips[0])]))


@dataclass(frozen=True)
class KilledSpec:
    """A tracker whose process is killed, as when memory runs out."""

    title: str = 'killed'

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        signal.raise_signal(signal.SIGKILL)
        raise AssertionError('not reached')

    def resolve(self, loaded: dict[str, Any]) -> KilledSpec:
        return self


def test_a_sequence_whose_process_is_killed_is_named(clips: list[Clip]) -> None:
    tasks = [PassTask(StillSpec(), clips[0]), PassTask(KilledSpec(), clips[1])]
    with pytest.raises(RuntimeError, match=r'^clip_1: a worker process was killed, .*--jobs'):
        list(run_passes(tasks))


def test_frames_support_length_and_slices(clips: list[Clip]) -> None:
    frames = Frames(clips[0].images)
    assert len(frames) == 4
    assert len(frames[1:]) == 3
    np.testing.assert_array_equal(frames[1:][0], frames[1])


def test_zero_jobs_are_refused(clips: list[Clip]) -> None:
    with pytest.raises(ValueError, match='--jobs 0: expected 1 to 256'):
        list(run_passes([PassTask(StillSpec(), clips[0])], jobs=0))


def test_a_tracker_is_resolved_or_refused_before_any_pass() -> None:
    spec, found = resolve_tracker(HcatSpec('hcat_base'))
    assert isinstance(spec, HcatSpec)
    assert 'auto' not in (spec.engine, spec.precision), 'nothing is left to find out'
    assert spec == HcatSpec('hcat_base', spec.engine, found['precision'])
    assert found['engine'].startswith(f'{spec.engine} ')
    assert found['settings']['window_penalty'] == 0.2
    assert resolve_tracker(StillSpec()) == (StillSpec(), {})
    with pytest.raises(ModelError, match="no model 'nothing'"):
        resolve_tracker(HcatSpec('nothing'))
