# SPDX-License-Identifier: Apache-2.0
"""Small sequences with images, results of simulated trackers, and the scores of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hcat_ros.evaluation.clips import Clip, read_clips
from hcat_ros.evaluation.protocols import PROTOCOLS, score_run
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.scored_run import RealTime, Run

FRAMES, WIDTH, HEIGHT = 60, 160, 120


def write_clips(
    root: Path,
    write_image: Callable[..., Path],
    picture: Callable[..., np.ndarray],
    names: Sequence[str],
    frames: int = FRAMES,
    absent: Sequence[int] = (),
) -> list[Clip]:
    """Write a plain data set: in each sequence a patch oscillates over a blocky background."""
    for seed, name in enumerate(names):
        ground, patch = picture(HEIGHT, WIDTH, seed) // 2, picture(28, 36, seed + 50)
        rows = []
        for number in range(frames):
            x = round(60 + 50 * math.sin(number / 9 + seed))
            y = round(45 + 30 * math.cos(number / 11 + seed))
            image = ground.copy()
            if number not in absent:
                image[y : y + 28, x : x + 36] = patch
            write_image(root / name / f'{number:04d}.png', image)
            rows.append('nan nan nan nan' if number in absent else f'{x},{y},36,28')
        (root / name / 'groundtruth.txt').write_text('\n'.join(rows))
    return read_clips('plain', root)


def answer(
    clip: Clip,
    drift: float = 0.02,
    away: tuple[int, int] | None = None,
    lost: Sequence[int] = (),
    ms: float = 10.0,
    seed: int = 0,
    scores: bool = True,
) -> SequenceResult:
    """Return boxes with a small error, but far from the target on the frames of `away`."""
    first = int(clip.visible[0])
    truth = np.asarray(clip.boxes[first:], np.float64)
    count = len(truth)
    rng = np.random.default_rng(seed)
    boxes = truth.copy()
    for row in range(1, count):  # without a target the box stays
        if not np.isfinite(boxes[row]).all():
            boxes[row] = boxes[row - 1]
    boxes[1:, :2] += rng.normal(0, drift, (count - 1, 2)) * boxes[1:, 2:]
    if away:
        boxes[slice(*away)] = (2, 2, 20, 20)
    score = np.clip(0.9 - 5 * drift * rng.random(count), 0, 1) if scores else np.full(count, np.nan)
    score[0] = np.nan
    said = np.zeros(count, bool)
    said[list(lost)] = True
    seconds = 1e-3 * ms * np.exp(rng.normal(0, 0.1, count))
    return SequenceResult(boxes, score, said, seconds)


def run_of(
    title: str,
    clips: Sequence[Clip],
    results: Sequence[SequenceResult],
    real_time: RealTime | None = None,
    **configuration: Any,
) -> Run:
    protocol = PROTOCOLS['plain']
    score = score_run(protocol, clips, results, [(WIDTH, HEIGHT)] * len(clips))
    whole = {'protocol': protocol.title, **configuration}
    return Run(title, whole, list(clips), list(results), score, real_time)


def renamed(clip: Clip, name: str) -> Clip:
    return replace(clip, name=name)


def two_runs(clips: Sequence[Clip]) -> list[Run]:
    """A good tracker that misses the target for a while in the first sequence, and a bad one."""
    good = [
        answer(clip, away=(20, 34), lost=range(24, 34)) if number == 0 else answer(clip)
        for number, clip in enumerate(clips)
    ]
    bad = [answer(clip, 0.2, away=(30, FRAMES), ms=40, scores=False, seed=3) for clip in clips]
    versions = {'hcat_ros': '1.2.3', 'numpy': np.__version__}
    return [
        run_of(
            'good one',
            clips,
            good,
            RealTime(30.0, 0.8125, 0.75, 0.25, 12.0),
            tracker={'model': 'm', 'settings': {'window_penalty': 0.42}},
            versions=versions,
            command=['hcat', 'evaluate', 'a folder'],
        ),
        run_of('bad one', clips, bad, tracker={'OpenCV': '5.0'}, versions=versions),
    ]
