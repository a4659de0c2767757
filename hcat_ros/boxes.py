# SPDX-License-Identifier: Apache-2.0
"""The package's only box type and its checks. Units are pixels, x points right, y down."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Box(NamedTuple):
    """An axis-aligned box: top-left corner (x, y) and size (w, h), float pixels."""

    x: float
    y: float
    w: float
    h: float

    @classmethod
    def from_center(cls, cx: float, cy: float, w: float, h: float) -> Box:
        """Return the box of size (w, h) around the centre (cx, cy)."""
        return cls(cx - w / 2, cy - h / 2, w, h)

    @property
    def cx(self) -> float:
        """Horizontal centre."""
        return self.x + self.w / 2

    @property
    def cy(self) -> float:
        """Vertical centre."""
        return self.y + self.h / 2


def checked_target_box(box: ArrayLike, width: int, height: int) -> Box:
    """Return `box` as a `Box` if it can be an init box in a frame of width x height pixels.

    Raises ValueError, naming the value and the reason, for a box that is not four finite
    numbers, is smaller than one pixel, lies outside of the frame (less than a tenth of its
    width or height inside), or is more than twice as large as the frame.
    """
    try:
        values = np.asarray(box, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f'a box is four numbers x y w h, got {box!r}') from None
    if values.shape != (4,):
        raise ValueError(f'a box is four numbers x y w h, got {box!r}')
    checked = Box(*values.tolist())
    name = 'x={:g} y={:g} w={:g} h={:g}'.format(*checked)
    if not all(math.isfinite(value) for value in checked):
        raise ValueError(f'box {name} is not finite')
    if checked.w < 1 or checked.h < 1:
        raise ValueError(f'box {name} is smaller than one pixel')
    inside_w = min(checked.x + checked.w, width) - max(checked.x, 0)
    inside_h = min(checked.y + checked.h, height) - max(checked.y, 0)
    if inside_w < max(1, 0.1 * checked.w) or inside_h < max(1, 0.1 * checked.h):
        raise ValueError(f'box {name} lies outside of the {width}x{height} frame')
    if checked.w > 2 * width or checked.h > 2 * height:
        raise ValueError(f'box {name} is more than twice as large as the {width}x{height} frame')
    return checked


def iou(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return the intersection over union of boxes (..., 4) as x y w h, shape (...).

    The two arrays broadcast against each other; a NaN box or two empty boxes give NaN.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    overlap = np.prod(np.maximum(high - low, 0), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - overlap
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.asarray(overlap / union)
