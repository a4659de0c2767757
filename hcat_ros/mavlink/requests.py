# SPDX-License-Identifier: Apache-2.0
"""What a ground station asks for, in MAVLink's normalised image coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hcat_ros.boxes import Box


class ImageSize(NamedTuple):
    """Size of the images that boxes are in, pixels."""

    width: int
    height: int


def box_of_rectangle(corners: Sequence[float], size: ImageSize) -> Box:
    """Return the box of MAV_CMD_CAMERA_TRACK_RECTANGLE in pixels.

    corners: x, y of two opposite corners, 0 to 1; what reaches out of the image is cut off.
    Raises ValueError, naming the value, for what is no rectangle of a pixel or more.
    """
    if not all(map(math.isfinite, corners)):
        raise ValueError(f'rectangle {_shown(corners)}: expected numbers from 0 to 1')
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in corners)
    left, right = sorted((x0 * size.width, x1 * size.width))
    top, bottom = sorted((y0 * size.height, y1 * size.height))
    if right - left < 1 or bottom - top < 1:
        raise ValueError(f'rectangle {_shown(corners)}: it has no size within the image')
    return Box(left, top, right - left, bottom - top)


def box_of_point(
    point: Sequence[float], radius: float, size: ImageSize, detections: Iterable[Box], side: float
) -> Box:
    """Return the box that MAV_CMD_CAMERA_TRACK_POINT means, pixels.

    A radius is taken as it is; without one the smallest detection that holds the point, or a
    square around it.

    Args:
        point: x, y, 0 to 1.
        radius: share of the image's width; 0 or NaN: none given.
        size: of the image.
        detections: what a detector has seen lately.
        side: of the square, as a share of the image's height.

    Raises:
        ValueError: naming the value, for what is no point of the image.

    """
    if not all(0 <= value <= 1 for value in point):
        raise ValueError(f'point {_shown(point)}: expected numbers from 0 to 1')
    x, y = point[0] * size.width, point[1] * size.height
    if math.isfinite(radius) and radius > 0:
        half = max(min(radius, 0.5) * size.width, 2.0)
        return Box(x - half, y - half, 2 * half, 2 * half)
    holding = [
        box for box in detections if box.x <= x <= box.x + box.w and box.y <= y <= box.y + box.h
    ]
    if holding:
        return min(holding, key=lambda box: box.w * box.h)
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
