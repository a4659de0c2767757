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
PRECISION_THRESHOLDS = np.arange(51.0)
"""Pixels of the precision plot (OTB)."""
NORMALISED_THRESHOLDS = np.linspace(0, 0.5, 51)
"""Errors, in sides of the target, of the normalised precision plot (LaSOT)."""


def overlaps(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the IoU of each frame, boxes and truth (n, 4) as x y w h; NaN without a target."""
    # Of a box with itself rounding makes more than 1, which would pass the last threshold.
    return np.asarray(np.minimum(iou(boxes, truth), 1.0))


def centre_errors(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of the centres in pixels of each frame; NaN without a target."""
    return np.asarray(np.sqrt(np.square(_centres(boxes) - _centres(truth)).sum(axis=1)))


def normalised_errors(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of the centres, x in widths and y in heights of the truth.

    NaN without a target. (Müller et al., TrackingNet, ECCV 2018; LaSOT has the same.)
    """
    difference = _centres(boxes) - _centres(truth)
    with np.errstate(divide='ignore', invalid='ignore'):
        scaled = difference / np.asarray(truth, np.float64)[:, 2:]
    return np.asarray(np.sqrt(np.square(scaled).sum(axis=1)))


def average_overlap(iou: ArrayLike) -> float:
    """AO, the mean IoU (GOT-10k)."""
    return float(_finite(iou).mean())


def success_rate(iou: ArrayLike, threshold: float = 0.5) -> float:
    """SR, the share of frames with an IoU above the threshold (GOT-10k: 0.5 and 0.75)."""
    return float((_finite(iou) > threshold).mean())


def success_curve(
    iou: ArrayLike, thresholds: ArrayLike = SUCCESS_THRESHOLDS
) -> NDArray[np.float64]:
    """Return the success plot (OTB): the share of frames above each overlap."""
    return np.asarray((_finite(iou)[:, None] > np.asarray(thresholds)).mean(axis=0))


def success_auc(iou: ArrayLike) -> float:
    """Area under the success plot (OTB): mean share of frames above each of 21 overlaps."""
    return float(success_curve(iou).mean())


def precision(errors: ArrayLike, pixels: float = PRECISION_PIXELS) -> float:
    """Share of frames whose centre is at most `pixels` away."""
    return float((_errors(errors) <= pixels).mean())


def precision_curve(
    errors: ArrayLike, thresholds: ArrayLike = PRECISION_THRESHOLDS
) -> NDArray[np.float64]:
    """Return the precision plot (OTB): the share of frames at most that far off, each."""
    return np.asarray((_errors(errors)[:, None] <= np.asarray(thresholds)).mean(axis=0))


def normalised_precision_curve(errors: ArrayLike) -> NDArray[np.float64]:
    """Return the share of frames with at most each of 51 errors, 0 to 0.5 sides of the target."""
    return precision_curve(errors, NORMALISED_THRESHOLDS)


def normalised_precision(errors: ArrayLike) -> float:
    """Area under the normalised precision plot, as a mean of its 51 values.

    So has GOT-10k's toolkit for LaSOT. LaSOT's own toolkit and the papers that use it give the
    plot's value at 0.2 instead: `precision(errors, 0.2)`. TrackingNet integrates 21 values.
    """
    return float(normalised_precision_curve(errors).mean())


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


def _errors(values: ArrayLike) -> NDArray[np.float64]:
    """Return the errors of frames that count; infinite where the tracker gave no box."""
    array = np.asarray(values, np.float64)
    known: NDArray[np.float64] = array[~np.isnan(array)]
    return known


def _centres(boxes: ArrayLike) -> NDArray[np.float64]:
    """Return the middle pixels (n, 2), as the toolkits have them.

    The subtracted 1 cancels in a difference, but so errors on a threshold round alike.
    """
    array = np.asarray(boxes, np.float64)
    return np.asarray(array[:, :2] + (array[:, 2:] - 1) / 2)


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
