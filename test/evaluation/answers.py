# SPDX-License-Identifier: Apache-2.0
"""Clips and results in memory, and how far two scorings of them are apart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.results import SequenceResult


def a_clip(truth: Any, name: str = 'cat') -> Clip:
    boxes = np.asarray(truth, np.float64)
    return Clip(name, [Path(f'{number}.jpg') for number in range(len(boxes))], boxes)


def a_result(boxes: Any) -> SequenceResult:
    rows = np.array(boxes, np.float64)
    blank = np.full(len(rows), np.nan)
    return SequenceResult(rows, blank, np.zeros(len(rows), bool), blank)


def agree(theirs: Mapping[str, float], ours: Mapping[str, float], what: str) -> None:
    """The largest difference of what they have is at most 1e-6; pytest -s shows it."""
    differences = {name: abs(theirs[name] - ours[name]) for name in theirs}
    worst = max(differences, key=lambda name: differences[name])
    line = f'{what}: largest difference {differences[worst]:.1e} ({worst})'
    print(line)
    assert all(value <= 1e-6 for value in differences.values()), line


def plausible(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The truth and a tracker's answers: it drifts, loses its target, finds it; some ties."""
    truth = np.empty((count, 4))
    truth[:, :2] = np.array([150, 110]) + np.cumsum(rng.normal(0, 4, (count, 2)), axis=0)
    truth[:, 2:] = 40 * np.exp(np.cumsum(rng.normal(0, 0.02, (count, 2)), axis=0))
    # Out of the frame on every side, as clipping sees it.
    truth[: count // 4, 0] -= rng.uniform(0, 160)
    truth[-count // 4 :, :2] += rng.uniform(0, 180, 2)
    boxes = truth + rng.normal(0, 3, truth.shape) * rng.choice([0.2, 1, 6], (count, 1))
    boxes[count // 2 : count // 2 + 5, :2] += 400
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    # Whole pixels bring errors and overlaps that lie on a threshold.
    truth[::2], boxes[::2] = np.round(truth[::2]), np.round(boxes[::2])
    boxes[4] = truth[4] + [20, 0, 0, 0]
    boxes[6] = truth[6] * [1, 1, 1, 0.5]
    return truth.round(3), boxes.round(3)
