# SPDX-License-Identifier: Apache-2.0
"""One-pass evaluation: a tracker runs from the first box to the end, without resets."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcat_ros.evaluation.metrics import (
    average_overlap,
    centre_errors,
    overlaps,
    precision,
    success_auc,
)
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.trackers import SingleObjectTracker
from hcat_ros.tracking import TargetState
from hcat_ros.tracking.encodings import Image


class Measures(NamedTuple):
    """The measures of one sequence."""

    ao: float
    success_auc: float
    precision: float
    overlaps: NDArray[np.float64]
    """IoU of the frames after the first, (n,); NaN without a target."""


def one_pass(
    tracker: SingleObjectTracker, frames: Iterable[Image], first_box: ArrayLike
) -> SequenceResult:
    """Track through the BGR frames, starting with `first_box` in the first one."""
    answers = Answers()
    for number, frame in enumerate(frames):
        started = time.perf_counter()
        if number == 0:
            tracker.init(frame, first_box)
            answers.start(first_box, time.perf_counter() - started)
        else:
            track = tracker.update(frame)
            lost = track.state is TargetState.LOST
            answers.add(track.box, track.score, lost, time.perf_counter() - started)
    return answers.result()


class Answers:
    """Collects a tracker's answers for one sequence, frame by frame."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []

    def start(self, box: ArrayLike, seconds: float) -> None:
        """Add the box that the tracker was given in the first frame."""
        self.add(box, float('nan'), False, seconds)

    def add(self, box: ArrayLike, score: float, lost: bool, seconds: float) -> None:
        """Add the answer for the next frame."""
        self._rows.append((*np.asarray(box, np.float64).tolist(), score, lost, seconds))

    def result(self) -> SequenceResult:
        """Return all answers."""
        table = np.array(self._rows, np.float64).reshape(-1, 7)
        return SequenceResult(table[:, :4], table[:, 4], table[:, 5] != 0, table[:, 6])


def measures(answers: SequenceResult, truth: ArrayLike) -> Measures:
    """Compare answers with the truth of all frames (n, 4); the first frame does not count."""
    truth = np.asarray(truth, np.float64)
    if len(truth) != len(answers.boxes):
        raise ValueError(f'{len(answers.boxes)} answers but truth for {len(truth)} frames')
    overlap = overlaps(answers.boxes[1:], truth[1:])
    errors = centre_errors(answers.boxes[1:], truth[1:])
    return Measures(average_overlap(overlap), success_auc(overlap), precision(errors), overlap)
