# SPDX-License-Identifier: Apache-2.0
"""The field's measures of a track, over the frames that show the target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcat_ros.boxes import iou

SUCCESS_THRESHOLDS = np.linspace(0, 1, 21)
"""Overlaps of the success plot (OTB)."""
PRECISION_PIXELS = 20.0


def overlaps(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the IoU of each frame, boxes and truth (n, 4) as x y w h; NaN without a target."""
    return iou(boxes, truth)


def centre_errors(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of the centres in pixels of each frame; NaN without a target."""
    a, b = np.asarray(boxes, np.float64), np.asarray(truth, np.float64)
    difference = a[:, :2] + a[:, 2:] / 2 - b[:, :2] - b[:, 2:] / 2
    return np.asarray(np.hypot(difference[:, 0], difference[:, 1]))


def average_overlap(iou: ArrayLike) -> float:
    """AO, the mean IoU (GOT-10k)."""
    return float(_finite(iou).mean())


def success_auc(iou: ArrayLike) -> float:
    """Area under the success plot (OTB): mean share of frames above each of 21 overlaps."""
    values = _finite(iou)
    return float((values[:, None] > SUCCESS_THRESHOLDS).mean())


def precision(errors: ArrayLike, pixels: float = PRECISION_PIXELS) -> float:
    """Share of frames whose centre is at most `pixels` away."""
    return float((_finite(errors) <= pixels).mean())


def roc_auc(scores: ArrayLike, hits: ArrayLike) -> float:
    """Area under the ROC of scores as predictors of hits (n,) bool; NaN unless both occur.

    The probability that a hit has a higher score than a miss, ties counting half
    (Mann-Whitney).
    """
    scores, hits = np.asarray(scores, np.float64), np.asarray(hits, bool)
    order, inverse = np.unique(scores, return_inverse=True)
    counts = np.bincount(inverse, minlength=len(order))
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives, negatives = int(hits.sum()), int((~hits).sum())
    if positives == 0 or negatives == 0:
        return float('nan')
    area = ranks[hits].sum() - positives * (positives + 1) / 2
    return float(area / (positives * negatives))


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    finite: NDArray[np.float64] = array[np.isfinite(array)]
    return finite


class LostMeasures(NamedTuple):
    """How well a tracker knows that it has lost its target."""

    precision: float
    """Share of the frames called lost in which it was."""
    recall: float
    """Share of the frames without it in the box that were called lost."""
    false_alarms: float
    """Share of the frames with it in the box that were called lost."""


def lost_measures(lost: ArrayLike, overlap: ArrayLike) -> LostMeasures:
    """Compare what a tracker said with the overlaps (n,), NaN where the target is absent.

    It is in the box with an IoU above 0.5, and not below 0.2 or when absent; what is between
    does not count. NaN where there is nothing to divide by.
    """
    said, overlap = np.asarray(lost, np.bool_), np.asarray(overlap, np.float64)
    missed, hit = ~(overlap >= 0.2), overlap > 0.5

    def share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
        return float((part & whole).sum() / whole.sum()) if whole.any() else float('nan')

    return LostMeasures(share(missed, said & (missed | hit)), share(said, missed), share(said, hit))
