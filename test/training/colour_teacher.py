# SPDX-License-Identifier: Apache-2.0
"""A teacher in plain numpy, and a scene in which it can follow the target."""

from __future__ import annotations

import cv2
import numpy as np

from hcat_ros.boxes import Box
from hcat_ros.training.teachers import Sight, TeacherConfig


class ColourTeacher:
    """Finds the region that has the colour of the template's middle, whatever its brightness."""

    def __init__(self, config: TeacherConfig | None = None) -> None:
        self.config = config or TeacherConfig('no file', 'no file')

    def features(self, crops: np.ndarray) -> np.ndarray:
        return crops / (crops.sum(3, keepdims=True, dtype=np.float32) + 1)

    def look(self, template: np.ndarray, search: np.ndarray) -> Sight:
        colour = template[48:80, 48:80].mean((0, 1))
        near = np.abs(cv2.blur(search, (5, 5)) - colour).max(2) < 0.15
        scores, boxes = np.zeros((16, 16), np.float32), np.full((16, 16, 4), 0.25, np.float32)
        if near.any():
            rows, columns = np.nonzero(near)
            (y0, y1), (x0, x1) = (np.percentile(places, (2, 98)) for places in (rows, columns))
            scores[int((y0 + y1) / 32), int((x0 + x1) / 32)] = 0.9
            w, h = (x1 - x0) / 0.96, (y1 - y0) / 0.96
            boxes[:] = np.float32([(x0 + x1 + 1) / 2, (y0 + y1 + 1) / 2, w, h]) / 256
        return Sight(scores, boxes)


def scene(
    box: Box | None,
    ground: tuple[int, int, int] = (150, 120, 20),
    square: tuple[int, int, int] = (60, 80, 255),
) -> np.ndarray:
    """A textured ground, BGR (240, 320, 3), with a textured square on it, red by default."""

    def textured(colour: tuple[int, int, int], height: int, width: int, seed: int) -> np.ndarray:
        light = np.random.default_rng(seed).uniform(0.15, 1, (height // 8, width // 8, 1))
        return (np.array(colour) * light.repeat(8, 0).repeat(8, 1)).astype(np.uint8)

    image = textured(ground, 240, 320, 0)
    if box is not None:
        x, y, side = int(box.x), int(box.y), int(box.w)
        # The texture depends on the position, so that the whole square changes when it moves.
        image[y : y + side, x : x + side] = textured(square, side, side, x)
    return image


def square_at(frame: int) -> Box:
    """Box of the square in a frame."""
    return Box(40.0 + frame // 2, 90.0 + frame // 4, 40.0, 40.0)
