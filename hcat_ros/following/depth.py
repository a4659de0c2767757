# SPDX-License-Identifier: Apache-2.0
"""Measures the target's depth in an aligned depth image."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box

MIDDLE = 0.5
"""Share of the box's width and height that is used; near the border there is more background."""
MOST_SAMPLES = 4096
"""Most pixels that are read; of a larger region only every second, third... row and column."""
LEAST_VALID = 12
"""Number of pixels that must have a depth; in a smaller region, all of them must."""
LEAST_SHARE = 0.1
"""Share of the pixels that must have a depth; glass, water and the sky have none."""
BAND = 0.1
"""Extent in depth of one object, as a share of its depth.

An object is first sought as the pixels from d to (1 + BAND) d, then widened to all pixels within
BAND of their median."""
FOREGROUND_SHARE = 0.5
"""The nearest object is the target if it has this share of the largest object's pixels: a target
is in front of its background and may fill less of the box."""
SENSOR_NOISE = 0.01
"""Standard deviation of the sensor, as a share of the depth."""
SAME_ASPECT = 0.01
"""Largest relative difference between the aspect ratios of depth image and camera image."""


class DepthSample(NamedTuple):
    """Depth of the target."""

    depth: float
    """m along the optical axis (REP-118)."""
    deviation: float
    """Standard deviation, m."""
    pixels: int
    """Number of the target's pixels that were used."""


def box_in_depth(box: Box, size: tuple[int, int], depth_size: tuple[int, int]) -> Box:
    """Convert a box of an image of `size` (width, height) to pixels of the aligned depth image.

    Raises ValueError if the aspect ratios differ: then the images are not aligned.
    """
    across, down = depth_size[0] / size[0], depth_size[1] / size[1]
    if abs(across / down - 1) > SAME_ASPECT:
        raise ValueError(
            f'depth is {depth_size[0]}x{depth_size[1]}, the images are {size[0]}x{size[1]}: align '
            'it to the camera (RealSense: align_depth.enable:=true)'
        )
    return Box(box.x * across, box.y * down, box.w * across, box.h * down)


def depth_in_box(depth: NDArray[Any], box: Box, metres: float = 1.0) -> DepthSample:
    """Return the depth of the target in the middle of a box.

    depth: (H, W); 0, negative and non-finite pixels are holes. metres: length of one unit of the
    image (0.001 for millimetres). The target is the nearest object in the middle of the box that
    has at least `FOREGROUND_SHARE` of the pixels of the largest one; its depth is the median of its
    pixels. Raises ValueError if too few pixels have a depth.
    """
    height, width = depth.shape
    half_w, half_h = max(MIDDLE * box.w / 2, 1.0), max(MIDDLE * box.h / 2, 1.0)
    left, right = math.floor(box.cx - half_w), math.ceil(box.cx + half_w)
    top, bottom = math.floor(box.cy - half_h), math.ceil(box.cy + half_h)
    left, right = max(left, 0), min(right, width)
    top, bottom = max(top, 0), min(bottom, height)
    if right <= left or bottom <= top:
        raise ValueError('the target is not in the depth image')
    step = max(1, math.ceil(math.sqrt((right - left) * (bottom - top) / MOST_SAMPLES)))
    part = depth[top:bottom:step, left:right:step]
    values = part[np.isfinite(part) & (part > 0)].astype(np.float64) * metres
    if len(values) < max(min(LEAST_VALID, part.size), LEAST_SHARE * part.size):
        raise ValueError(
            f'{len(values)} of {part.size} pixels of the target have a depth: too few to measure '
            '(glass, water, or out of the range of the sensor?)'
        )
    values.sort()
    # Number of pixels from each depth d to (1 + BAND) d.
    counts = np.searchsorted(values, values * (1 + BAND), 'right') - np.arange(len(values))
    first = int(np.argmax(counts >= FOREGROUND_SHARE * counts.max()))
    members = values[first : first + int(counts[first])]
    for _ in range(3):  # the first members may be only the near part of the object
        median = float(np.median(members))
        members = values[np.abs(values - median) <= BAND * median]
    median = float(np.median(members))
    spread = 1.4826 * float(np.median(np.abs(members - median)))
    return DepthSample(median, math.hypot(SENSOR_NOISE * median, spread), len(members))
