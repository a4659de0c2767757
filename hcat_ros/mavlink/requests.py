# SPDX-License-Identifier: Apache-2.0
"""Converts between boxes in pixels and MAVLink's normalised image coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hcat_ros.boxes import Box


class ImageSize(NamedTuple):
    """Size of the images in which boxes are given, pixels."""

    width: int
    height: int


def box_of_rectangle(corners: Sequence[float], size: ImageSize) -> Box:
    """Return the box of MAV_CMD_CAMERA_TRACK_RECTANGLE in pixels.

    corners: x, y of two opposite corners, 0 to 1; the part outside the image is cut off.
    Raises ValueError with the value unless at least one pixel is left.
    """
    if not all(map(math.isfinite, corners)):
        raise ValueError(f'rectangle {_shown(corners)}: expected numbers from 0 to 1')
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in corners)
    left, right = sorted((x0 * size.width, x1 * size.width))
    top, bottom = sorted((y0 * size.height, y1 * size.height))
    if right - left < 1 or bottom - top < 1:
        raise ValueError(f'rectangle {_shown(corners)}: expected at least one pixel in the image')
    return Box(left, top, right - left, bottom - top)


def box_of_point(
    point: Sequence[float], radius: float, size: ImageSize, detections: Iterable[Box], side: float
) -> Box:
    """Return the box that MAV_CMD_CAMERA_TRACK_POINT means, pixels.

    With a radius this is the square around the circle. Otherwise it is the smallest detection that
    contains the point, or else a square around the point.

    Args:
        point: x, y, 0 to 1.
        radius: radius of a circle as a share of the image's width; 0 or NaN: no radius.
        size: size of the image.
        detections: recent boxes of a detector.
        side: side of the square as a share of the image's height.

    Raises:
        ValueError: with the value, if the point is not in the image.

    """
    if not all(0 <= value <= 1 for value in point):
        raise ValueError(f'point {_shown(point)}: expected numbers from 0 to 1')
    x, y = point[0] * size.width, point[1] * size.height
    if math.isfinite(radius) and radius > 0:
        half = max(min(radius, 0.5) * size.width, 2.0)
        return Box(x - half, y - half, 2 * half, 2 * half)
    containing = [
        box for box in detections if box.x <= x <= box.x + box.w and box.y <= y <= box.y + box.h
    ]
    if containing:
        return min(containing, key=lambda box: box.w * box.h)
    half = max(side * size.height, 4.0) / 2
    return Box(x - half, y - half, 2 * half, 2 * half)


def rectangle_of_box(box: Box, size: ImageSize) -> tuple[float, float, float, float]:
    """Return x, y of the top left and of the bottom right corner, 0 to 1 within the image."""

    def share(value: float, of: int) -> float:
        return min(max(value / of, 0.0), 1.0)

    return (
        share(box.x, size.width),
        share(box.y, size.height),
        share(box.x + box.w, size.width),
        share(box.y + box.h, size.height),
    )


def _shown(values: Sequence[float]) -> str:
    return ' '.join(f'{value:.3g}' for value in values)
