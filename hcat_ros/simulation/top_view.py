# SPDX-License-Identifier: Apache-2.0
"""A view of the scene from above, with platform, field of view, target and trails."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.simulation.simulation import Simulation
from hcat_ros.tracking.encodings import Image

PLATFORM, TARGET, VIEW, GRID, PAPER = (
    (200, 90, 20),
    (40, 40, 220),
    (245, 222, 190),
    (228, 228, 228),
    (250, 250, 250),
)
_SHIFT = 4
"""Number of fractional bits of the points that OpenCV draws."""


def top_view(simulation: Simulation, size: int = 480, metres: float = 0.0) -> Image:
    """Return the scene from above, x up and y to the left, BGR (size, size, 3).

    metres: width of the picture; 0 chooses, in steps, a width that shows platform and target. The
    platform and its field of view are blue, the target is red, the board is grey.
    """
    pose, foot = simulation.platform.pose, simulation.path.position
    middle = (np.array((pose.x, pose.y)) + foot[:2]) / 2
    if not metres:
        apart = math.hypot(foot[0] - pose.x, foot[1] - pose.y)
        metres = 2.0 ** (math.ceil(2 * math.log2(max(4.0, 2.2 * apart))) / 2)
    scale = size / metres

    def place(points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Convert points on the ground (n, 2) to pixels with fractional bits."""
        away = np.asarray(points, np.float64) - middle
        pixels = np.stack((size / 2 - away[:, 1] * scale, size / 2 - away[:, 0] * scale), 1)
        return np.asarray(np.rint(pixels * 2**_SHIFT), np.int32)

    view = np.full((size, size, 3), PAPER, np.uint8)
    spacing = 10.0 ** math.floor(math.log10(metres / 3))
    _draw_grid(view, middle, metres, spacing)
    half = simulation.scenario.horizontal_fov / 2
    reach = metres
    rays = [(0.0, 0.0)] + [
        (reach * math.cos(pose.yaw + a), reach * math.sin(pose.yaw + a))
        for a in np.linspace(-half, half, 9)
    ]
    wedge = view.copy()
    cv2.fillPoly(
        wedge, [place(np.array(rays) + np.array((pose.x, pose.y)))], VIEW, cv2.LINE_AA, _SHIFT
    )
    cv2.addWeighted(wedge, 0.7, view, 0.3, 0, dst=view)
    if simulation.trail:
        step = max(1, len(simulation.trail) // 2000)
        past = list(simulation.trail)[::step]
        for points, colour in (
            ([(p.x, p.y) for p, _ in past], PLATFORM),
            ([(f[0], f[1]) for _, f in past], TARGET),
        ):
            cv2.polylines(view, [place(np.array(points))], False, colour, 2, cv2.LINE_AA, _SHIFT)
    for ends in simulation.board_from_above():
        cv2.polylines(view, [place(ends)], False, (110, 110, 110), 4, cv2.LINE_AA, _SHIFT)
    arrow = np.array(((9.0, 0), (-6, 5), (-3, 0), (-6, -5))) / scale
    cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
    turned = arrow @ np.array(((cos, sin), (-sin, cos))) + (pose.x, pose.y)
    cv2.fillPoly(view, [place(turned)], PLATFORM, cv2.LINE_AA, _SHIFT)
    x, y = place(foot[None, :2])[0].tolist()
    cv2.circle(view, (x, y), 6 << _SHIFT, TARGET, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    cv2.putText(
        view, f'{spacing:g} m grid', (8, size - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.42,
        (120, 120, 120), 1, cv2.LINE_AA,
    )  # fmt: skip
    return view


def _draw_grid(view: Image, middle: NDArray[np.float64], metres: float, spacing: float) -> None:
    size = view.shape[0]
    scale = size / metres
    for axis in (0, 1):
        first = math.floor((middle[axis] - metres / 2) / spacing)
        for number in range(first, first + math.ceil(metres / spacing) + 2):
            at = round(size / 2 - (number * spacing - middle[axis]) * scale)
            start, end = ((0, at), (size, at)) if axis == 0 else ((at, 0), (at, size))
            cv2.line(view, start, end, GRID, 1)
