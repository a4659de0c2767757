# SPDX-License-Identifier: Apache-2.0
"""Draws training views with their labels."""

from __future__ import annotations

import cv2
import numpy as np

from hcat_ros.tracking.encodings import Image
from hcat_ros.training.groups import Group
from hcat_ros.training.losses import positive_cells


def draw_group(group: Group, grid: int) -> Image:
    """Return a row of templates and search regions with boxes and positive cells drawn, BGR.

    grid: cells along a side of the score map. Nothing is drawn on a search region that does not
    show the object.
    """
    row = []
    size = group.searches.shape[1]
    cell = size / grid
    for template, search, box, shown in zip(
        group.templates, group.searches, group.boxes, group.shown
    ):
        left = np.zeros((size, template.shape[1], 3), np.uint8)
        left[: template.shape[0]] = template.numpy()[:, :, ::-1]
        right = search.numpy()[:, :, ::-1].copy()
        if shown:
            cells = positive_cells(box[None], grid)[0].reshape(grid, grid).numpy()
            for y, x in np.argwhere(cells):
                middle = (int(cell * (x + 0.5)), int(cell * (y + 0.5)))
                cv2.circle(right, middle, 2, (0, 0, 255), cv2.FILLED)
            cx, cy, w, h = (box.numpy() * size).tolist()
            corners = [(round(cx + s * w / 2), round(cy + s * h / 2)) for s in (-1, 1)]
            cv2.rectangle(right, corners[0], corners[1], (0, 255, 0))
        row += [left, right]
    return np.hstack(row)
