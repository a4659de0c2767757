# SPDX-License-Identifier: Apache-2.0
"""Upright pictures in the world that face the camera."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.simulation.camera import Matrix, Pinhole, Pose
from hcat_ros.tracking.encodings import Image

NEAREST = 0.3
"""Smallest distance in front of the camera at which a billboard is drawn, m."""


class Layer(NamedTuple):
    """Image of a billboard as the camera sees it, covering a part of the frame."""

    x: int
    y: int
    """Top left corner of that part, pixels."""
    pixels: Image
    """BGRA image with colours multiplied by alpha, (h, w, 4)."""
    box: Box
    """Box of the whole billboard, including the parts outside of the frame."""
    full_area: float
    """Number of solid pixels of the whole billboard, including parts outside of the frame."""
    plane: tuple[Matrix, Matrix]
    """Normal and a point of the billboard's plane, in world coordinates, (3,) each."""

    @property
    def part(self) -> tuple[slice, slice]:
        """Rows and columns that the layer covers in the frame."""
        height, width = self.pixels.shape[:2]
        return slice(self.y, self.y + height), slice(self.x, self.x + width)


class Billboard:
    """An upright picture of known height that always faces the camera.

    picture: BGRA. height, width: metres; a width of None follows from the shape of the picture.
    """

    def __init__(self, picture: Image, height: float, width: float | None = None) -> None:
        self.height = height
        self.width = height * picture.shape[1] / picture.shape[0] if width is None else width
        self._solid = float((picture[..., 3] >= 128).mean())
        alpha = picture[..., 3:].astype(np.uint16)
        # Colours are multiplied by alpha, so that those of transparent pixels do not bleed in.
        level = np.dstack((picture[..., :3] * alpha // 255, alpha)).astype(np.uint8)
        self._levels = [level]
        while min(level.shape[:2]) >= 8:
            half = (level.shape[1] // 2, level.shape[0] // 2)
            level = np.asarray(cv2.resize(level, half, interpolation=cv2.INTER_AREA), np.uint8)
            self._levels.append(level)

    def corners(self, foot: Matrix, pose: Pose, lens: Pinhole) -> NDArray[np.float64] | None:
        """Return the pixels of the corners (4, 2), clockwise from the top left.

        foot: middle of the lower edge in the world [m]. Returns None if the billboard is not in
        front of the camera.
        """
        away = np.asarray(foot[:2]) - pose.position[:2]
        distance = math.hypot(*away)
        if distance < 1e-6:
            return None
        right = np.array((away[1], -away[0], 0.0)) / distance * self.width / 2
        up = np.array((0.0, 0.0, self.height))
        points = np.stack((foot - right + up, foot + right + up, foot + right, foot - right))
        seen = (points - pose.position) @ lens.projection(pose).T
        if seen[:, 2].min() < NEAREST:
            return None
        return np.asarray(seen[:, :2] / seen[:, 2:])

    def layer(
        self,
        foot: Matrix,
        pose: Pose,
        lens: Pinhole,
        motion: tuple[float, float] = (0.0, 0.0),
    ) -> Layer | None:
        """Return the image of the billboard, None if it is not in the frame.

        motion: pixels by which it moves during the exposure, right and down; it is blurred by them.
        """
        corners = self.corners(foot, pose, lens)
        if corners is None:
            return None
        # A pixel's edges are half a pixel from its middle.
        low, high = corners.min(0) + 0.5, corners.max(0) + 0.5
        box = Box(*(float(v) for v in (*low, *(high - low))))
        margin = np.ceil(np.abs(motion) / 2) + 1
        x0, y0 = np.maximum(np.floor(low - margin), 0).astype(int).tolist()
        end = np.minimum(np.ceil(high + margin), (lens.width, lens.height)).astype(int)
        w, h = int(end[0]) - x0, int(end[1]) - y0
        if w < 1 or h < 1:
            return None
        ratio = self._levels[0].shape[0] / max(box.h, 1e-6)
        level = self._levels[
            max(0, min(len(self._levels) - 1, math.floor(math.log2(max(ratio, 1)) + 0.4)))
        ]
        rows, columns = level.shape[:2]
        source = np.array(
            ((0, 0), (columns, 0), (columns, rows), (0, rows)), np.float32
        ) - np.float32(0.5)
        target = (corners - (x0, y0)).astype(np.float32)
        pixels = cv2.warpPerspective(
            level,
            cv2.getPerspectiveTransform(source, target),
            (w, h),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
        )
        area = float(cv2.contourArea(corners.astype(np.float32))) * self._solid
        away = np.append(np.asarray(foot[:2]) - pose.position[:2], 0.0)
        plane = (away / np.linalg.norm(away), np.asarray(foot))
        return Layer(x0, y0, blurred(np.asarray(pixels, np.uint8), motion), box, area, plane)


def blurred(image: Image, motion: tuple[float, float]) -> Image:
    """Return the image blurred along `motion` (pixels right, down), unchanged below 1 pixel."""
    length = math.hypot(*motion)
    if length < 1:
        return image
    right, down = motion
    taps = 2 * (math.ceil(length) // 2) + 1
    if abs(down) < 0.5 or abs(right) < 0.5:
        across = abs(down) < 0.5
        return np.asarray(cv2.blur(image, (taps, 1) if across else (1, taps)), np.uint8)
    half = taps // 2 + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    # Each point along the line is distributed over the four pixels around it.
    for step in np.linspace(-0.5, 0.5, 2 * taps + 1):
        x, y = half + right * step, half + down * step
        left, top = math.floor(x), math.floor(y)
        fx, fy = x - left, y - top
        kernel[top : top + 2, left : left + 2] += np.outer((1 - fy, fy), (1 - fx, fx))
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def compose(frame: Image, layer: Layer) -> None:
    """Draw the layer over the frame, in place."""
    part = frame[layer.part]
    rest = cv2.merge([255 - layer.pixels[..., 3]] * 3)
    # The two terms add up to at most 255, apart from rounding, which add() saturates.
    part[:] = cv2.add(cv2.multiply(part, rest, scale=1 / 255), layer.pixels[..., :3].copy())
