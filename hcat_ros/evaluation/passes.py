# SPDX-License-Identifier: Apache-2.0
"""Runs trackers over sequences in parallel processes, and saves each result when it is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.one_pass import one_pass
from hcat_ros.evaluation.realtime import RealTimeRule, real_time_pass
from hcat_ros.evaluation.results import SequenceResult, read_result, write_result
from hcat_ros.evaluation.trackers import MakeTracker, TrackerSpec
from hcat_ros.evaluation.workers import WORKER_ENDED, worker_pool
from hcat_ros.files.pictures import read_picture
from hcat_ros.tracking.encodings import Image

START_NOISE = 0.02
"""Standard deviation of the error of a start box: of its centre, as a share of its sides, and of
the logarithm of its sides."""


class PassTask(NamedTuple):
    """A pass: a tracker over a sequence, from its first visible frame."""

    tracker: TrackerSpec
    clip: Clip
    start: int = 0
    """0: the true box; other numbers: the true box with a random error, see `start_box`."""
    real_time: RealTimeRule | None = None
    """None: every frame waits for the tracker."""
    threads: int = 1
    """Threads of the tracker; 0: its own choice."""
    file: Path | None = None
    """File in which the result is kept. A pass whose file exists is not run again; a kept result
    that started from another box is an error, because the data have changed."""


class LeftOut(NamedTuple):
    """Stands for the result of a sequence that could not be run."""

    reason: str


def run_passes(
    tasks: Sequence[PassTask], jobs: int = 1, initialise: Callable[[], None] | None = None
) -> Iterator[SequenceResult]:
    """Yield the result of each task in their order; raise for the first task without a result.

    jobs: processes; initialise: called once in each of them. Raises ValueError for jobs that
    `worker_pool` refuses, a frame that cannot be read and a kept result that does not fit;
    EngineError, ModelError, OSError.
    """
    for result in try_passes(tasks, jobs, initialise):
        if isinstance(result, LeftOut):
            raise ValueError(result.reason)
        yield result


def try_passes(
    tasks: Sequence[PassTask], jobs: int = 1, initialise: Callable[[], None] | None = None
) -> Iterator[SequenceResult | LeftOut]:
    """Yield the result of each task, in the order of the tasks, or the reason why it has none.

    Raises ValueError for jobs that `worker_pool` refuses and a kept result that does not fit;
    EngineError, ModelError, OSError for a result that cannot be kept; RuntimeError, naming the
    sequence, if a process is killed or crashes.
    """
    with worker_pool(jobs, initialise) as pool:
        # Not pool.map, which cancels the waiting tasks when its iterator is closed: if processes
        # are then killed, the pool's own thread fails with a traceback. A popped future frees its
        # result.
        waiting = deque((task.clip.name, pool.submit(_result, task)) for task in tasks)
        while waiting:
            name, running = waiting.popleft()
            try:
                result = running.result()
            except BrokenProcessPool as error:
                which = name if jobs == 1 else f'{name} or another sequence at the same time'
                raise RuntimeError(f'{which}: {WORKER_ENDED}') from error
            yield result


def resolve_tracker(
    tracker: TrackerSpec, threads: int = 1, initialise: Callable[[], None] | None = None
) -> tuple[TrackerSpec, dict[str, Any]]:
    """Load a tracker in a process of its own; return its final spec and its description.

    The spec names the engine and precision that were chosen where they were 'auto'. Raises
    ValueError, EngineError, ModelError if it cannot be loaded.
    """
    with worker_pool(1, initialise) as pool:
        description = pool.submit(_describe, tracker, threads).result()
    return tracker.resolve(description), description


_loaded: dict[tuple[TrackerSpec, int], tuple[MakeTracker, dict[str, Any]]] = {}


def _load(tracker: TrackerSpec, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
    """Return a tracker, which each worker process loads once."""
    key = (tracker, threads)
    if key not in _loaded:
        _loaded[key] = tracker.load(threads)
    return _loaded[key]


def _describe(tracker: TrackerSpec, threads: int) -> dict[str, Any]:
    return _load(tracker, threads)[1]


def _result(task: PassTask) -> SequenceResult | LeftOut:
    first = int(task.clip.visible[0])
    frames = Frames(task.clip.images[first:])
    box = start_box(task.clip, task.start)
    if task.file is not None and task.file.is_file():
        return _read_kept(task.file, task.clip, len(frames), box)
    tracker = _load(task.tracker, task.threads)[0]()
    try:
        if task.real_time is None:
            result = one_pass(tracker, frames, box)
        else:
            result = real_time_pass(tracker, frames, box, task.real_time, task.clip.name)
    except (OSError, ValueError) as error:  # of a frame or box: other sequences can still run
        return LeftOut(str(error))
    if task.file is not None:
        write_result(result, task.file)
    return result


def _read_kept(file: Path, clip: Clip, count: int, box: NDArray[np.float64]) -> SequenceResult:
    """Return a kept result. Raises ValueError unless it has `count` rows and started from `box`."""
    kept = read_result(file)
    if len(kept.boxes) != count:
        raise ValueError(
            f'{file} has {len(kept.boxes)} rows, {clip.name} has {count} frames; delete the file '
            'to run it again'
        )
    if not np.array_equal(kept.boxes[0], box):  # the file has all digits
        raise ValueError(
            f'{file} started from the box {_numbers(kept.boxes[0])}, the first box of {clip.name} '
            f'is {_numbers(box)}: the data have changed since the result was kept; use --restart, '
            'or delete the file to run it again'
        )
    return kept


def _numbers(box: NDArray[np.float64]) -> str:
    return ' '.join(f'{value:.10g}' for value in box)


class Frames(Sequence[Image]):
    """The frames of image files, BGR; each file is read when its frame is accessed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Frames: ...
    def __getitem__(self, index: int | slice) -> Image | Frames:
        if isinstance(index, slice):
            return Frames(self._paths[index])
        return read_picture(self._paths[index])


def start_box(clip: Clip, start: int) -> NDArray[np.float64]:
    """Return the box (x, y, w, h) that a pass starts from on the first visible frame.

    start: 0 for the true box; other numbers add a random error that depends on the number and on
    the clip's length. A single pass depends on luck: where two similar objects cross, a rounding
    error can decide which of them is followed. The mean over several start boxes, as inexact as
    hand-drawn boxes, measures a tracker better.
    """
    box = np.asarray(clip.boxes[clip.visible[0]], np.float64)
    if start == 0:
        return box
    rng = np.random.default_rng([start, len(clip.boxes)])
    size = box[2:] * np.exp(rng.normal(0, START_NOISE, 2))
    centre = box[:2] + box[2:] / 2 + rng.normal(0, START_NOISE, 2) * box[2:]
    return np.concatenate([centre - size / 2, size])
