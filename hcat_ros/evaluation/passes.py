# SPDX-License-Identifier: Apache-2.0
"""One-pass evaluation of many sequences, settings and starts, in parallel processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines import Engine, load_engine
from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.one_pass import measures, one_pass
from hcat_ros.tracking import Tracker, TrackerConfig
from hcat_ros.tracking.encodings import Image

START_NOISE = 0.02
"""Standard deviation of a varied start: of its centre, as a share of the box, and of the
logarithm of its sides."""


class Task(NamedTuple):
    """A pass: a model over a sequence."""

    model: str
    """Name or folder."""
    engine: str
    precision: str
    config: TrackerConfig
    clip: Clip
    start: int = 0
    """0: from the true box; each other number: from it with a small error of its own."""


class Result(NamedTuple):
    """What a pass comes to; the first frame does not count."""

    ao: float
    success_auc: float
    precision: float
    overlaps: NDArray[np.float64]
    """(n,), NaN without a target."""
    scores: NDArray[np.float64]
    """(n,), raw scores."""
    lost: NDArray[np.bool_]
    """(n,), whether the tracker said so."""


def run_passes(
    tasks: Sequence[Task], jobs: int = 1, initialise: Callable[[], None] | None = None
) -> Iterator[Result]:
    """Yield the result of each task, in order, as they come.

    jobs: processes, each with one thread; initialise: called once in each of them.
    Raises ValueError for jobs below 1 and for a frame that cannot be read; EngineError,
    ModelError.
    """
    if jobs < 1:
        raise ValueError(f'--jobs {jobs}: expected 1 or more')
    with ProcessPoolExecutor(jobs, initializer=initialise) as pool:
        yield from pool.map(_result, tasks)


_engines: dict[tuple[str, str, str], Engine] = {}


def _result(task: Task) -> Result:
    """Run a task; in a worker, whose engines serve again."""
    key = (task.model, task.engine, task.precision)
    if key not in _engines:
        _engines[key] = load_engine(*key, threads=1)
    first = int(task.clip.visible[0])
    frames = (_frame(path) for path in task.clip.images[first:])
    start = started(task.clip, task.start)
    answers = one_pass(Tracker(_engines[key], task.config), frames, start)
    result = measures(answers, task.clip.boxes[first:])
    return Result(*result, answers.scores, answers.lost)


def started(clip: Clip, start: int) -> NDArray[np.float64]:
    """Return the box, x y w h, that a pass starts with on the first visible frame.

    A single pass is a matter of luck: where two look-alikes pass each other, the last bit decides
    which is followed to the end. Passes from starts as unsure as a hand-drawn box tell how a
    tracker does.
    """
    box = np.asarray(clip.boxes[clip.visible[0]], np.float64)
    if start == 0:
        return box
    rng = np.random.default_rng([start, len(clip.boxes)])
    size = box[2:] * np.exp(rng.normal(0, START_NOISE, 2))
    centre = box[:2] + box[2:] / 2 + rng.normal(0, START_NOISE, 2) * box[2:]
    return np.concatenate([centre - size / 2, size])


def _frame(path: Path) -> Image:
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f'{path} is not a readable image')
    return np.asarray(image, np.uint8)
