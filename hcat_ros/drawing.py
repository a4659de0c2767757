# SPDX-License-Identifier: Apache-2.0
"""Draws a track on a frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.tracking import TargetState, Track
from hcat_ros.tracking.encodings import Image

_COLOURS = {
    TargetState.TRACKING: (80, 220, 60),
    TargetState.UNCERTAIN: (40, 200, 240),
    TargetState.LOST: (60, 60, 230),
}
OUTSIDE = 50
"""Distance from the image, pixels, to which far corners are moved; every line is thinner."""


def draw_track(image: Image, track: Track, text: str = '', name: str = '') -> None:
    """Draw the box, `name` and score on a BGR image (H, W, 3), in place, and `text` in a corner."""
    colour = _COLOURS[track.state]
    scale = max(image.shape[0] / 720, 0.5)
    draw_box(image, track.box, colour, max(1, round(2 * scale)))
    corner, _ = _corners(image, track.box)
    score = 'lost' if track.state is TargetState.LOST else f'{track.score:.2f}'
    draw_label(image, f'{name} {score}'.lstrip(), corner, scale, colour)
    if text:
        draw_label(image, text, (0, image.shape[0]), scale, (255, 255, 255))


def draw_box(
    image: Image,
    box: Sequence[float] | NDArray[np.float64],
    colour: tuple[int, ...],
    line: int,
    line_type: int = cv2.LINE_8,
) -> None:
    """Draw a box of finite x, y, w, h on an image, in place. line: line thickness, pixels."""
    corners = _corners(image, box)
    cv2.rectangle(image, *corners, colour, line, line_type)


def _corners(
    image: Image, box: Sequence[float] | NDArray[np.float64]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return two opposite corners of a box; far corners are moved to just outside the image.

    OpenCV's integers would overflow for boxes far outside.
    """
    x, y, w, h = box
    far = [side + OUTSIDE for side in (image.shape[1], image.shape[0])]
    low, high = (
        np.clip(corner, -OUTSIDE, far).round().astype(int).tolist()
        for corner in ((x, y), (x + w, y + h))
    )
    return (low[0], low[1]), (high[0], high[1])


def draw_label(
    image: Image, text: str, corner: tuple[int, int], scale: float, colour: tuple[int, int, int]
) -> None:
    """Write `text` on a dark background. corner: its lower left, which is moved into the image."""
    font, size, line = cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, max(1, round(scale))
    (w, h), below = cv2.getTextSize(text, font, size, line)
    h += below + 2
    x = max(0, min(corner[0], image.shape[1] - w))
    y = max(h, min(corner[1], image.shape[0]))
    cv2.rectangle(image, (x, y - h), (x + w, y), (30, 30, 30), cv2.FILLED)
    cv2.putText(image, text, (x, y - below), font, size, colour, line, cv2.LINE_AA)
