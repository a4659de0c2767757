# SPDX-License-Identifier: Apache-2.0
"""Times the stages of trackers, which take turns; `engines.timing` explains why."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcat_ros.engines.timing import rotate, take_turn
from hcat_ros.evaluation.reference_engine import ReferenceEngine
from hcat_ros.tracking import Tracker
from hcat_ros.tracking.encodings import Image

BLOCK = 10
"""Number of frames that are measured in one turn of a tracker."""
STAGES = ('crop', 'search', 'decode')


class Quantiles(NamedTuple):
    """Quantiles of the duration of one stage, ms."""

    median: float
    p95: float
    p99: float


class Times(NamedTuple):
    """The result of `measure`."""

    stages: list[NDArray[np.float64]]
    """Durations of `STAGES` in seconds, (frames, 3), in the order of the trackers."""
    rested: bool
    """Whether the process came to rest before every turn, see `engines.timing`."""


@contextlib.contextmanager
def pin_to_processors(threads: int) -> Iterator[list[int]]:
    """Pin the calling thread, and threads and processes that it starts, to `threads` processors.

    Yields the chosen processors: one of each core, then second ones of the cores. With 0 threads,
    or on a system that cannot pin, nothing is changed and the list is empty. At the end the thread
    may use its previous processors again.
    """
    if threads < 1 or not hasattr(os, 'sched_setaffinity'):
        yield []
        return
    before = os.sched_getaffinity(0)
    chosen = _one_a_core_first(before)[:threads]
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, before)


def _one_a_core_first(processors: Iterable[int]) -> list[int]:
    """Return the first processor of each core, then the second ones, and so on."""
    used: Counter[str] = Counter()
    order = []
    for number in sorted(processors):
        file = Path(f'/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list')
        try:
            core = file.read_text()
        except OSError:
            core = str(number)
        order.append((used[core], number))
        used[core] += 1
    return [number for _, number in sorted(order)]


def measure(
    trackers: Sequence[Tracker],
    frame: Image,
    box: ArrayLike,
    frames: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda rounds: rounds,
) -> Times:
    """Time `frames` updates of each tracker, in turns, after a round that does not count.

    frame: BGR; box: x, y, w, h of the target in it, from which every turn starts anew.
    progress: wraps the rounds, as `tqdm` does. The normalisation of a `ReferenceEngine` counts as
    part of the crop, so that its search stage is its graph alone.
    """
    sizes = [BLOCK] * (frames // BLOCK) + [frames % BLOCK] * (frames % BLOCK > 0)
    found: list[list[NDArray[np.float64]]] = [[] for _ in trackers]
    rested = True
    for number in progress(range(len(sizes) + 1)):
        for row in rotate(range(len(trackers)), number):
            tracker = trackers[row]
            # This comes before the rest, because the template's graph has threads of its own.
            tracker.init(frame, box)
            turn = take_turn(partial(_time_update, tracker, frame), sizes[number - 1])
            rested &= turn.rested
            if number > 0:
                found[row].append(turn.seconds)
    return Times([np.concatenate(turns) for turns in found], rested)


def _time_update(tracker: Tracker, frame: Image) -> tuple[float, ...]:
    tracker.update(frame)
    crop, search, decode = tracker.stage_times
    preparing = tracker.engine.preparing if isinstance(tracker.engine, ReferenceEngine) else 0.0
    return crop + preparing, search - preparing, decode


def quantiles(times: NDArray[np.float64]) -> dict[str, Quantiles]:
    """Return the quantiles of each stage and of 'update', their sum. times: of `Times.stages`."""
    columns = {**dict(zip(STAGES, times.T)), 'update': times.sum(axis=1)}
    return {
        name: Quantiles(*(float(value) for value in 1e3 * np.percentile(column, (50, 95, 99))))
        for name, column in columns.items()
    }
