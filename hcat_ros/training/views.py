# SPDX-License-Identifier: Apache-2.0
"""Views: randomly jittered and warped template and search crops around a box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.tracking.crop import SEARCH_FACTOR, TEMPLATE_FACTOR, crop_side
from hcat_ros.tracking.encodings import Image


@dataclass(frozen=True)
class Jitter:
    """Random changes of a crop's centre and scale, large for `far_share` of views, else small."""

    near: float = 0.0
    """Standard deviation of a small offset of the centre along x and y, in target sizes."""
    near_scale: float = 0.0
    """Standard deviation of the logarithm of a small change of scale."""
    far: float = 0.0
    """Limit of a large offset of the centre along x and y, in target sizes."""
    far_scale: float = 0.0
    """Standard deviation of the logarithm of a large change of scale."""
    far_share: float = 0.0
    """Share of the views with large changes, 0 to 1."""

    def draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Return a random offset of the centre (x, y), in target sizes, and a scale."""
        if rng.random() < self.far_share:
            dx, dy = rng.uniform(-self.far, self.far, 2)
            return dx, dy, math.exp(rng.normal(0, self.far_scale))
        dx, dy = rng.normal(0, self.near, 2)
        return dx, dy, math.exp(rng.normal(0, self.near_scale))


@dataclass(frozen=True)
class Warp:
    """Standard deviations of a random warp that imitates a change of the viewpoint."""

    rotation: float = 0.0
    """Standard deviation of the rotation, degrees."""
    aspect: float = 0.0
    """Standard deviation of the logarithm of the ratio of the sides."""
    shear: float = 0.0
    """Standard deviation of the sideways shift per unit of height."""

    def draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return a random 2 x 2 matrix with determinant 1, which preserves areas."""
        angle = math.radians(rng.normal(0, self.rotation)) if self.rotation else 0.0
        stretch = math.exp(rng.normal(0, self.aspect) / 2) if self.aspect else 1.0
        shear = rng.normal(0, self.shear) if self.shear else 0.0
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return np.asarray(turn @ np.diag([stretch, 1 / stretch]) @ np.array([[1, shear], [0, 1]]))

    def times(self, factor: float) -> Warp:
        """Return a warp with each deviation multiplied by `factor`."""
        return Warp(self.rotation * factor, self.aspect * factor, self.shear * factor)


TEMPLATE_JITTER = Jitter(near=0.02, near_scale=0.03)
SEARCH_JITTER = Jitter(near=0.22, near_scale=0.12, far=1.5, far_scale=0.25, far_share=0.3)
PHOTO_WARP = Warp(rotation=7, aspect=0.10, shear=0.05)
VIDEO_WARP = Warp(rotation=2, aspect=0.03)


@dataclass(frozen=True)
class Geometry:
    """Settings of how views are cut from images."""

    template: Jitter = TEMPLATE_JITTER
    search: Jitter = SEARCH_JITTER
    warp: float = 1.0
    """Factor on the warps of the sources; 0: no warp."""
    mirror: float = 0.5
    """Share of the groups whose views are all mirrored left to right."""

    def __post_init__(self) -> None:
        if self.warp < 0 or not 0 <= self.mirror <= 1:
            raise ValueError(
                f'warp {self.warp}: expected 0 or more; mirror {self.mirror}: expected 0 to 1'
            )


def template_view(
    image: Image,
    box: Box,
    rng: np.random.Generator,
    size: int,
    warp: Warp,
    mirror: bool,
    jitter: Jitter = TEMPLATE_JITTER,
) -> tuple[Image, Box]:
    """Return a template crop (size, size, 3) and the box in it, (x, y, w, h) in crop pixels."""
    return _view(image, box, rng, size, TEMPLATE_FACTOR, jitter, warp, mirror)


def search_view(
    image: Image,
    box: Box,
    rng: np.random.Generator,
    size: int,
    warp: Warp,
    mirror: bool,
    jitter: Jitter = SEARCH_JITTER,
    ground: Image | None = None,
) -> tuple[Image, Box]:
    """Return a search crop (size, size, 3) and the box in it, (x, y, w, h) in crop pixels.

    ground: photograph that fills the crop outside the image, (size, size, 3); None: the image's
    mean colour fills it.
    """
    return _view(image, box, rng, size, SEARCH_FACTOR, jitter, warp, mirror, ground)


def _view(
    image: Image,
    box: Box,
    rng: np.random.Generator,
    size: int,
    factor: int,
    jitter: Jitter,
    warp: Warp,
    mirror: bool,
    ground: Image | None = None,
) -> tuple[Image, Box]:
    dx, dy, scale = jitter.draw(rng)
    extent = math.sqrt(box.w * box.h)
    side = crop_side(box.w, box.h, factor) * scale
    centre = np.array([box.cx + dx * extent, box.cy + dy * extent])
    # Image to crop: x -> linear (x - centre) + size / 2, in coordinates in which pixel i spans i to
    # i + 1. OpenCV's coordinates are those of the pixels' middles, i + 1/2.
    linear = warp.draw(rng) * (size / side)
    if mirror:
        linear = np.diag([-1.0, 1.0]) @ linear
    matrix = np.column_stack((linear, size / 2 - 0.5 - linear @ (centre - 0.5)))
    if ground is None:
        fill = cv2.mean(image)[:3]
        crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=fill)
    else:
        border = cv2.BORDER_TRANSPARENT
        crop = cv2.warpAffine(image, matrix, (size, size), ground.copy(), borderMode=border)
    middle = linear @ (np.array([box.cx, box.cy]) - centre) + size / 2
    # The box around the warped ellipse; a box around the warped corners would grow with rotation.
    half = np.sqrt((linear**2) @ np.array([box.w**2, box.h**2])) / 2
    return np.asarray(crop, np.uint8), Box.from_center(*middle, *(2 * half))


def relative_box(box: Box, size: int) -> tuple[NDArray[np.float32], bool]:
    """Return a box in crop pixels as (cx, cy, w, h) in 0..1, and whether the crop shows it.

    The box is clipped to the crop. The crop shows it if at least a quarter of its area is inside.
    """
    x0, y0 = (min(max(0.0, value), float(size)) for value in box[:2])
    x1, y1 = max(x0, min(float(size), box.x + box.w)), max(y0, min(float(size), box.y + box.h))
    shown = (x1 - x0) * (y1 - y0) >= 0.25 * box.w * box.h
    inside = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
    return np.array([value / size for value in inside], np.float32), shown
