# SPDX-License-Identifier: Apache-2.0
"""Square crops around the target: the template (factor 2) and the search region (factor 4)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from hcat_ros.tracking.encodings import Image, part

TEMPLATE_FACTOR = 2
SEARCH_FACTOR = 4


def crop_side(w: float, h: float, factor: float) -> int:
    """Return s, the side in frame pixels of the crop around a target of size (w, h).

    With the margin m = (factor - 1) (w + h) / 2, s = ceil(sqrt((w + m) (h + m))).
    """
    margin = (factor - 1) * (w + h) / 2
    return math.ceil(math.sqrt((w + margin) * (h + margin)))


def crop_resized(
    frame: Image,
    cx: float,
    cy: float,
    side: int,
    size: int,
    fill: tuple[float, ...],
    encoding: str = 'rgb8',
) -> Image:
    """Cut a square from the frame and resize it.

    frame: (H, W) or (H, W, C > 1) uint8, any channel order; (cx, cy): centre, `side`: side of the
    square in frame pixels; `size`: side of the result in pixels; `fill`: colour of the area outside
    the frame, one value per channel of the result. Returns (size, size) or (size, size, C) in
    `encoding`, or RGB for an encoding whose pixels share colours (see `Encoding.shared`).

    The part inside the frame is resized before it is padded. Padding first would blend the fill
    colour into the border pixels, which trained weights do not expect.
    """
    height, width = frame.shape[:2]
    x0 = math.floor(cx - (side + 1) / 2 + 0.5)
    y0 = math.floor(cy - (side + 1) / 2 + 0.5)
    left, right = max(0, -x0), max(0, x0 + side - width)
    top, bottom = max(0, -y0), max(0, y0 + side - height)
    if left + right >= side or top + bottom >= side:
        raise ValueError(
            f'a crop of {side} px around ({cx:g}, {cy:g}) lies outside of the '
            f'{width}x{height} frame'
        )
    edges = (y0 + top, y0 + side - bottom, x0 + left, x0 + side - right)
    inside = part(frame, encoding, *edges)
    if inside.shape[:2] == (side, side):
        return np.asarray(cv2.resize(inside, (size, size)), np.uint8)

    scale = side / size
    # round() rounds half to even, as the reference does.
    paste_w = max(1, round(inside.shape[1] / scale))
    paste_h = max(1, round(inside.shape[0] / scale))
    resized = cv2.resize(inside, (paste_w, paste_h))
    crop = np.empty((size, size, *inside.shape[2:]), np.uint8)
    # Fill one row and copy it: filling all rows pixel by pixel would take numpy 0.5 ms.
    crop[0] = np.asarray(fill[0] if inside.ndim == 2 else fill, np.uint8)
    crop[1:] = crop[0]
    # The three rounded parts may add up to size +- 1; `size - 1` keeps at least one row and one
    # column of the image.
    x, y = min(round(left / scale), size - 1), min(round(top / scale), size - 1)
    paste = resized[: size - y, : size - x]
    crop[y : y + paste.shape[0], x : x + paste.shape[1]] = paste
    return crop


def mean_colour(frame: Image, encoding: str = 'rgb8') -> tuple[float, ...]:
    """Return the mean of each channel over the whole frame, the `fill` of `crop_resized`."""
    whole = part(frame, encoding, 0, frame.shape[0], 0, frame.shape[1])
    channels = 1 if whole.ndim == 2 else whole.shape[2]
    return tuple(cv2.mean(whole)[:channels])
