# SPDX-License-Identifier: Apache-2.0
"""One-pass evaluation: from the first box to the end, without resets."""

from __future__ import annotations

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
from hcat_ros.tracking import TargetState, Tracker
from hcat_ros.tracking.encodings import Image


class Pass(NamedTuple):
    """A tracker's answers for the frames after the first."""

    boxes: NDArray[np.float64]
    """(n, 4) as x y w h."""
    scores: NDArray[np.float64]
    """(n,), raw scores."""
    lost: NDArray[np.bool_]
    """(n,), whether the tracker said so."""


class Measures(NamedTuple):
    """What one sequence comes to."""

    ao: float
    success_auc: float
    precision: float
    overlaps: NDArray[np.float64]
    """(n,), of the frames after the first, NaN without a target."""


def one_pass(tracker: Tracker, frames: Iterable[Image], first_box: ArrayLike) -> Pass:
    """Track through the BGR frames, starting with `first_box` in the first one."""
    boxes, scores, lost = [], [], []
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.init(frame, first_box)
            continue
        track = tracker.update(frame)
        boxes.append(track.box)
        scores.append(track.score)
        lost.append(track.state is TargetState.LOST)
    return Pass(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(scores, np.float64),
        np.array(lost, np.bool_),
    )


def measures(answers: Pass, truth: ArrayLike) -> Measures:
    """Compare with the truth of all frames (n + 1, 4); the first frame does not count."""
    rest = np.asarray(truth, np.float64)[1:]
    if len(rest) != len(answers.boxes):
        raise ValueError(f'{len(answers.boxes)} answers but truth for {len(rest)} frames')
    overlap = overlaps(answers.boxes, rest)
    errors = centre_errors(answers.boxes, rest)
    return Measures(average_overlap(overlap), success_auc(overlap), precision(errors), overlap)
