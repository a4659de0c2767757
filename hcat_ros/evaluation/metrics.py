# SPDX-License-Identifier: Apache-2.0
"""The usual measures of a track, over the frames that show the target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcat_ros.boxes import iou

SUCCESS_THRESHOLDS = np.linspace(0, 1, 21)
"""IoU thresholds of the success plot (OTB)."""
PRECISION_PIXELS = 20.0
PRECISION_THRESHOLDS = np.arange(51.0)
"""Centre error thresholds of the precision plot (OTB), pixels."""
NORMALISED_THRESHOLDS = np.linspace(0, 0.5, 51)
"""Error thresholds of the normalised precision plot (LaSOT), in sides of the target."""


def overlaps(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the IoU of each frame, boxes and truth (n, 4) as x y w h; NaN without a target."""
    # Rounding can make the IoU of equal boxes exceed 1, which would pass the last threshold.
    return np.asarray(np.minimum(iou(boxes, truth), 1.0))


def centre_errors(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of the centres in each frame, pixels; NaN without a target."""
    return np.asarray(np.sqrt(np.square(_centres(boxes) - _centres(truth)).sum(axis=1)))


def normalised_errors(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the distance of the centres in each frame, x in widths and y in heights of the truth.

    NaN without a target. (Müller et al., TrackingNet, ECCV 2018; LaSOT uses the same definition.)
    """
    difference = _centres(boxes) - _centres(truth)
    with np.errstate(divide='ignore', invalid='ignore'):
        scaled = difference / np.asarray(truth, np.float64)[:, 2:]
    return np.asarray(np.sqrt(np.square(scaled).sum(axis=1)))


def average_overlap(iou: ArrayLike) -> float:
    """Return the average overlap (AO), the mean IoU (GOT-10k)."""
    return float(_finite(iou).mean())


def success_rate(iou: ArrayLike, threshold: float = 0.5) -> float:
    """Return the success rate (SR): share of frames with an IoU above the threshold (GOT-10k)."""
    return float((_finite(iou) > threshold).mean())


def success_curve(
    iou: ArrayLike, thresholds: ArrayLike = SUCCESS_THRESHOLDS
) -> NDArray[np.float64]:
    """Return the success plot (OTB): the share of frames with an IoU above each threshold."""
    return np.asarray((_finite(iou)[:, None] > np.asarray(thresholds)).mean(axis=0))


def success_auc(iou: ArrayLike) -> float:
    """Return the area under the success plot (OTB), as a mean of its 21 values."""
    return float(success_curve(iou).mean())


def precision(errors: ArrayLike, pixels: float = PRECISION_PIXELS) -> float:
    """Return the share of frames whose centre error is at most `pixels`."""
    return float((_errors(errors) <= pixels).mean())


def precision_curve(
    errors: ArrayLike, thresholds: ArrayLike = PRECISION_THRESHOLDS
) -> NDArray[np.float64]:
    """Return the precision plot (OTB): the share of frames whose error is within each threshold."""
    return np.asarray((_errors(errors)[:, None] <= np.asarray(thresholds)).mean(axis=0))


def normalised_precision_curve(errors: ArrayLike) -> NDArray[np.float64]:
    """Return the share of frames whose error is within each of `NORMALISED_THRESHOLDS`, (51,)."""
    return precision_curve(errors, NORMALISED_THRESHOLDS)


def normalised_precision(errors: ArrayLike) -> float:
    """Return the area under the normalised precision plot, as a mean of its 51 values.

    GOT-10k's toolkit computes this for LaSOT. LaSOT's own toolkit and the papers that use it give
    the plot's value at 0.2 instead: `precision(errors, 0.2)`. TrackingNet integrates 21 values.
    """
    return float(normalised_precision_curve(errors).mean())


def roc_auc(scores: ArrayLike, hits: ArrayLike) -> float:
    """Return the area under the ROC curve of scores that predict hits, (n,) bool.

    This is the probability that a hit has a higher score than a miss; ties count half
    (Mann-Whitney). NaN unless there are both hits and misses.
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
    """Return the errors that are not NaN; they are infinite where the tracker gave no box."""
    array = np.asarray(values, np.float64)
    known: NDArray[np.float64] = array[~np.isnan(array)]
    return known


def _centres(boxes: ArrayLike) -> NDArray[np.float64]:
    """Return the middle pixels (n, 2), as the toolkits compute them.

    The subtracted 1 cancels in a difference, but with it errors at a threshold round as in the
    toolkits.
    """
    array = np.asarray(boxes, np.float64)
    return np.asarray(array[:, :2] + (array[:, 2:] - 1) / 2)


class LostMeasures(NamedTuple):
    """How well a tracker knows that it has lost its target."""

    precision: float
    """Share of the frames called lost in which the target was not in the box."""
    recall: float
    """Share of the frames without the target in the box that were called lost."""
    false_alarms: float
    """Share of the frames with the target in the box that were called lost."""


def lost_measures(lost: ArrayLike, overlap: ArrayLike) -> LostMeasures:
    """Compare the frames called lost (n,) with the overlaps (n,), NaN where the target is absent.

    The target is in the box if the IoU is above 0.5; it is not in the box if the IoU is below 0.2
    or the target is absent; other frames do not count. A measure of no frames is NaN.
    """
    called_lost, overlap = np.asarray(lost, np.bool_), np.asarray(overlap, np.float64)
    missed, hit = ~(overlap >= 0.2), overlap > 0.5

    def share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
        return float((part & whole).sum() / whole.sum()) if whole.any() else float('nan')

    return LostMeasures(
        share(missed, called_lost & (missed | hit)),
        share(called_lost, missed),
        share(called_lost, hit),
    )
