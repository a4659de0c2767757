# SPDX-License-Identifier: Apache-2.0
"""A board that comes between the camera and the target for a chosen time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BEFORE = 0.75
"""Place at which the board crosses the line of sight, as a share of the way from the camera to the
target."""
SPEED = 1.5
"""Speed at which the board passes the target, in widths of the target a second; at least 1 m/s."""
SHORTEST, LONGEST = 0.5, 2.0
"""Shortest and longest duration of an occlusion, s."""
_AWAY = 1.5
"""Time before and after an occlusion in which the board keeps its speed, s; outside of it the board
moves faster, to be out of view soon."""


class Occluder:
    """A board that crosses the line of sight from time to time.

    The board moves relative to the line of sight, so that the occlusion lasts for the planned time
    whatever the follower does. To the camera it looks like an object that the target walks behind.

    target_width: width of the target [m]. height: height of the board [m]. standing: whether the
    board stands on the ground; otherwise it flies at the height of the target. hidden_share: share
    of the target that must be covered for the target to count as occluded.
    """

    def __init__(
        self,
        target_width: float,
        height: float,
        standing: bool,
        hidden_share: float,
        rng: np.random.Generator,
    ) -> None:
        self._target_width = target_width
        self._standing = standing
        self._hidden_share = hidden_share
        self._rng = rng
        self._speed = max(1.0, SPEED * target_width)
        self.height = height
        """Height of the board, m."""
        self.duration = 0.0
        """Duration of the occlusion in the present passage, s."""
        self._middle = 0.0
        self._side = 1.0
        self._plan(float(rng.uniform(4.0, 6.0)))

    @property
    def width(self) -> float:
        """Width of the board in the present passage, m."""
        # The occlusion lasts from the moment when the leading edge has covered `hidden_share` of
        # the target to the moment when the trailing edge has uncovered as much.
        covered = (2 * self._hidden_share - 1) * self._target_width
        return BEFORE * (covered + self._speed * self.duration)

    def _plan(self, middle: float) -> None:
        self._middle = middle
        self.duration = float(self._rng.uniform(SHORTEST, LONGEST))
        self._side = float(self._rng.choice((-1.0, 1.0)))

    def advance(self, now: float) -> None:
        """Plan the next passage when this one is over."""
        if now > self._middle + 5.0:
            self._plan(self._middle + float(self._rng.uniform(9.0, 12.0)))

    def foot(
        self, now: float, camera: NDArray[np.float64], target: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Return the foot of the board in the world, (3,) metres; None while it is out of view."""
        since = now - self._middle
        if abs(since) > 5.0:
            return None
        hurry = max(0.0, abs(since) - self.duration / 2 - _AWAY)
        offset = self._speed * since + math.copysign(3.0 * hurry**2, since)
        way = target - camera
        level = math.hypot(way[0], way[1]) or 1.0
        across = np.array((-way[1], way[0], 0.0)) / level
        foot = camera + BEFORE * way + self._side * BEFORE * offset * across
        # A flying board reaches a little below the target.
        foot[2] = 0.0 if self._standing else foot[2] - 0.2 * self.height
        return np.asarray(foot)
