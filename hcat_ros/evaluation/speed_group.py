# SPDX-License-Identifier: Apache-2.0
"""Loads the engines of one group of `hcat benchmark` and measures them in turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from hcat_ros.engines import Engine, EngineError, load_engine
from hcat_ros.engines.self_test import self_test
from hcat_ros.evaluation.reference_engine import ReferenceEngine, ReferenceGraphs
from hcat_ros.evaluation.speed import measure, quantiles
from hcat_ros.evaluation.speed_report import SpeedRow, SpeedTable
from hcat_ros.models import load_model
from hcat_ros.tracking import Tracker, TrackerConfig, warm_up


class SpeedTask(NamedTuple):
    """The engines to measure in one group, and how."""

    threads: int
    models: list[str]
    engines: list[str]
    precisions: list[str]
    references: list[ReferenceGraphs]
    multiply_adds: dict[str, int]
    """Multiply-adds of the search path, by the model's name."""
    frames: int
    size: tuple[int, int]


def measure_group(
    task: SpeedTask, processors: list[int], peak: Callable[[], float]
) -> tuple[SpeedTable | None, dict[str, str]]:
    """Return a group's table and why rows are missing; no table if only references were loaded.

    processors: those to which this process is pinned. peak: measures the machine's GFLOP/s on
    them; it is called before and after the measurement, and the greater value counts.
    """
    if task.threads:
        cv2.setNumThreads(task.threads)
    engines, missing = load_engines(task)
    if all(isinstance(engine, ReferenceEngine) for engine in engines):
        return None, missing
    width, height = task.size
    # Coarse noise: as costly to resize as any image, and its features are not degenerate.
    coarse = np.random.default_rng(0).integers(
        0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8
    )
    frame = coarse.repeat(16, 0).repeat(16, 1)[:height, :width].copy()
    box = (width * 0.45, height * 0.4, width * 0.1, height * 0.2)
    # The box keeps its size, so that every crop costs the same.
    trackers = [Tracker(engine, TrackerConfig(size_smoothing=1e-6)) for engine in engines]
    before = peak()
    times = measure(
        trackers, frame, box, task.frames, lambda rounds: tqdm(rounds, unit='round', disable=None)
    )
    rows = []
    for engine, stages in zip(engines, times.stages):
        card, reference = engine.card, isinstance(engine, ReferenceEngine)
        known = {graphs.model: graphs.multiply_adds for graphs in task.references}
        multiply_adds = (known if reference else task.multiply_adds).get(card.model)
        rows.append(
            SpeedRow(
                card.model,
                f'{card.runtime} {card.runtime_version}',
                card.precision,
                reference,
                quantiles(stages),
                multiply_adds,
            )
        )
    gflops = max(before, peak())
    return SpeedTable(task.threads, processors, gflops, times.rested, rows), missing


def load_engines(task: SpeedTask) -> tuple[list[Engine], dict[str, str]]:
    """Return the engines that pass the self-test, the references first, and why others fail."""
    found: list[Engine] = []
    missing: dict[str, str] = {}
    models = [load_model(folder) for folder in task.models]
    by_name = {model.card.name: model for model in models}
    for graphs in task.references:
        try:
            reference = ReferenceEngine(graphs, task.threads)
            if graphs.model in by_name:
                self_test(reference, by_name[graphs.model])
            warm_up(reference)
            found.append(reference)
        except EngineError as error:
            missing[f'{graphs.model}, reference graph'] = str(error)
    for model, name, precision in itertools.product(models, task.engines, task.precisions):
        try:
            engine = load_engine(model, name, precision, task.threads)
            self_test(engine, model)
            warm_up(engine)
            found.append(engine)
        except EngineError as error:
            reason = str(error).removeprefix(f'{name}: ').replace('\n', ' ')
            missing[f'{model.card.name}, {name} {precision}'] = reason
    return found, missing
