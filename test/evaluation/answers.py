# SPDX-License-Identifier: Apache-2.0
"""Clips and results in memory, and the comparison of two sets of scores of them."""

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
    """Assert that all scores differ by at most 1e-6; pytest -s shows the largest difference."""
    differences = {name: abs(theirs[name] - ours[name]) for name in theirs}
    worst = max(differences, key=lambda name: differences[name])
    line = f'{what}: largest difference {differences[worst]:.1e} ({worst})'
    print(line)
    assert all(value <= 1e-6 for value in differences.values()), line


def plausible(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return true boxes and the boxes of a tracker that drifts, loses its target and finds it."""
    truth = np.empty((count, 4))
    truth[:, :2] = np.array([150, 110]) + np.cumsum(rng.normal(0, 4, (count, 2)), axis=0)
    truth[:, 2:] = 40 * np.exp(np.cumsum(rng.normal(0, 0.02, (count, 2)), axis=0))
    # Boxes leave the frame on every side, so that clipping matters.
    truth[: count // 4, 0] -= rng.uniform(0, 160)
    truth[-count // 4 :, :2] += rng.uniform(0, 180, 2)
    boxes = truth + rng.normal(0, 3, truth.shape) * rng.choice([0.2, 1, 6], (count, 1))
    boxes[count // 2 : count // 2 + 5, :2] += 400
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    # Whole pixels give errors and overlaps exactly on a threshold.
    truth[::2], boxes[::2] = np.round(truth[::2]), np.round(boxes[::2])
    boxes[4] = truth[4] + [20, 0, 0, 0]
    boxes[6] = truth[6] * [1, 1, 1, 0.5]
    return truth.round(3), boxes.round(3)
