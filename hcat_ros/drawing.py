# SPDX-License-Identifier: Apache-2.0
"""Draws a track on a frame."""

from __future__ import annotations

import cv2

from hcat_ros.tracking import TargetState, Track
from hcat_ros.tracking.encodings import Image

_COLOURS = {
    TargetState.TRACKING: (80, 220, 60),
    TargetState.UNCERTAIN: (40, 200, 240),
    TargetState.LOST: (60, 60, 230),
}


def draw_track(image: Image, track: Track, text: str = '', name: str = '') -> None:
    """Draw the box, `name` and score on a BGR image (H, W, 3), in place, and `text` in a corner."""
    colour = _COLOURS[track.state]
    scale = max(image.shape[0] / 720, 0.5)
    x, y, w, h = (round(value) for value in track.box)
    cv2.rectangle(image, (x, y), (x + w, y + h), colour, max(1, round(2 * scale)))
    score = 'lost' if track.state is TargetState.LOST else f'{track.score:.2f}'
    draw_label(image, f'{name} {score}'.lstrip(), (x, y), scale, colour)
    if text:
        draw_label(image, text, (0, image.shape[0]), scale, (255, 255, 255))


def draw_label(
    image: Image, text: str, corner: tuple[int, int], scale: float, colour: tuple[int, int, int]
) -> None:
    """Write `text` on a dark ground. corner: lower left of the ground, moved into the image."""
    font, size, line = cv2.FONT_HERSHEY_SIMPLEX, 0.7 * scale, max(1, round(scale))
    (w, h), below = cv2.getTextSize(text, font, size, line)
    h += below + 2
    x = max(0, min(corner[0], image.shape[1] - w))
    y = max(h, min(corner[1], image.shape[0]))
    cv2.rectangle(image, (x, y - h), (x + w, y), (30, 30, 30), cv2.FILLED)
    cv2.putText(image, text, (x, y - below), font, size, colour, line, cv2.LINE_AA)
