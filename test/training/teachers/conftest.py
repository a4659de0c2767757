# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of released teachers: a template, and a search region that contains it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from hcat_ros.boxes import Box, iou


@pytest.fixture(scope='session')
def seen(picture: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Template, search region and the true box in it, (4,) as cx cy w h in 0..1."""
    ground = cv2.GaussianBlur(picture(256, 256, 3), (0, 0), 8)
    x, y, side = 130, 70, 64  # the target is a quarter of the search region
    ground[y : y + side, x : x + side] = cv2.GaussianBlur(picture(side, side, 4), (0, 0), 1)
    template = ground[y - 32 : y + 96, x - 32 : x + 96].copy()
    box = np.array([x + side / 2, y + side / 2, side, side]) / 256
    return template, ground, box


@pytest.fixture(scope='session')
def find() -> Callable[..., tuple[float, float]]:
    """Score of a teacher's best cell and IoU of its box there with the true one."""

    def best(
        teacher: Any, template: np.ndarray, search: np.ndarray, box: np.ndarray
    ) -> tuple[float, float]:
        z, x = (teacher.features(crop[None]) for crop in (template, search))
        scores, boxes = teacher.look(z[0], x[0])
        found = boxes.reshape(-1, 4)[scores.argmax()]
        one, other = (Box.from_center(*map(float, values)) for values in (found, box))
        return float(scores.max()), iou(one, other)

    return best
