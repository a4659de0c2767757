# SPDX-License-Identifier: Apache-2.0
"""Corrects the difference between the init box and the network's box of the same target.

Annotators and operators disagree on what belongs to a target: with or without the arms, the whole
bus or its front, a tight or a loose box. A network has learnt one convention, and without a
correction each track drifts from the init box to the network's convention. The first frame shows
the difference, because both boxes are known there, and the difference hardly changes afterwards.
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
"""Search regions of the first frame: x and y offset as shares of the box's size, and scale."""
MIN_VIEW_IOU = 0.3
"""Minimum IoU of the network's box and the init box. Views below it show something else."""
MAX_CORRECTION = 0.3
"""Largest absolute value of each field of a correction; the width factor is at most e^0.3."""


class BoxCorrection(NamedTuple):
    """Correction that turns the network's box of a target into the init box."""

    log_w: float = 0.0
    """Natural logarithm of the width factor."""
    log_h: float = 0.0
    """Natural logarithm of the height factor."""
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


def regions_to_view(init_box: Box) -> list[Box]:
    """Return the boxes around which the first frame is searched, one for each of `VIEWS`."""
    cx, cy, w, h = init_box.cx, init_box.cy, init_box.w, init_box.h
    return [Box.from_center(cx + x * w, cy + y * h, w * s, h * s) for x, y, s in VIEWS]


def estimate_correction(init_box: Box, seen: Sequence[Box], share: float = 1.0) -> BoxCorrection:
    """Return the median correction over the network's boxes of the first frame.

    seen: the network's box in each view. share: share of the difference to correct, 0 to 1.
    Returns an empty correction if no view shows the target.
    """
    differences = [
        (
            math.log(init_box.w / box.w),
            math.log(init_box.h / box.h),
            (init_box.cx - box.cx) / box.w,
            (init_box.cy - box.cy) / box.h,
        )
        for box in seen
        if box.w > 0 and box.h > 0 and iou(box, init_box) >= MIN_VIEW_IOU
    ]
    if not differences:
        return BoxCorrection()
    middle = np.clip(share * np.median(differences, axis=0), -MAX_CORRECTION, MAX_CORRECTION)
    return BoxCorrection(*middle.tolist())
