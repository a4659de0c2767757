# SPDX-License-Identifier: Apache-2.0
"""How the box that a target was named with differs from the network's box of the same target.

Annotators and operators disagree on what belongs to a target: with the arms or without, the whole
bus or its front, a tight box or a loose one. A network has learnt one habit, and without a
correction each track drifts from the box that was asked for to the network's own. The first frame
tells the difference, because there both boxes are known, and it hardly changes afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hcat_ros.boxes import Box, iou

VIEWS = (
    (0.0, 0.0, 1.0),
    (0.1, 0.1, 1.05),
    (-0.1, 0.1, 0.95),
    (0.1, -0.1, 0.95),
    (-0.1, -0.1, 1.05),
)
"""Search regions of the first frame: offset as a share of the box's width and height, scale."""
MIN_VIEW_IOU = 0.3
"""Views in which the network's box overlaps the named one by less show something else."""
MAX_CORRECTION = 0.3
"""Limit of each part of a correction: a box is never widened by more than a factor of e^0.3."""


class BoxCorrection(NamedTuple):
    """Correction from the network's box of a target to the box that it was named with."""

    log_w: float = 0.0
    """Natural logarithm of the factor of the width."""
    log_h: float = 0.0
    """Natural logarithm of the factor of the height."""
    dx: float = 0.0
    """Offset of the centre to the right as a share of the network's width."""
    dy: float = 0.0
    """Offset of the centre downwards as a share of the network's height."""

    def apply(self, box: Box) -> Box:
        """Return the corrected box."""
        return Box.from_center(
            box.cx + self.dx * box.w,
            box.cy + self.dy * box.h,
            box.w * math.exp(self.log_w),
            box.h * math.exp(self.log_h),
        )


def regions_to_view(named: Box) -> list[Box]:
    """Return the boxes around which the first frame is searched, for a median of several views."""
    return [
        Box.from_center(named.cx + x * named.w, named.cy + y * named.h, named.w * s, named.h * s)
        for x, y, s in VIEWS
    ]


def estimate_correction(named: Box, seen: Sequence[Box], share: float = 1.0) -> BoxCorrection:
    """Return the median correction over the network's boxes of the first frame.

    share: of the difference that is corrected, 0 to 1. No correction if no view shows the target.
    """
    differences = [
        (
            math.log(named.w / box.w),
            math.log(named.h / box.h),
            (named.cx - box.cx) / box.w,
            (named.cy - box.cy) / box.h,
        )
        for box in seen
        if box.w > 0 and box.h > 0 and iou(box, named) >= MIN_VIEW_IOU
    ]
    if not differences:
        return BoxCorrection()
    middle = np.clip(share * np.median(differences, axis=0), -MAX_CORRECTION, MAX_CORRECTION)
    return BoxCorrection(*middle.tolist())
