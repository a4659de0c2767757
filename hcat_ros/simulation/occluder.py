# SPDX-License-Identifier: Apache-2.0
"""Something that comes between camera and target for a chosen time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BEFORE = 0.75
"""Place of its path, as a share of the way from the camera to the target."""
SPEED = 1.5
"""Speed with which it passes the target, in the target's widths a second, but at least 1 m/s."""
SHORTEST, LONGEST = 0.5, 2.0
"""Seconds of an occlusion."""
_AWAY = 1.5
"""Seconds around the occlusion in which it keeps its speed; then it hurries out of view."""


class Occluder:
    """A board that crosses the line of sight now and then; while it crosses it goes with it.

    Whatever the follower does, the target is occluded for the time drawn. Only where the line
    of sight is matters, so to the camera it looks like something the target walks behind.

    target_width, height (of the board): metres. standing: on the ground, else it flies at the
    target's height. hidden_share: share of the target from which it counts as occluded.
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
        """Metres."""
        self.duration = 0.0
        """Seconds that the target is occluded, of the present passage."""
        self._middle = 0.0
        self._side = 1.0
        self._plan(float(rng.uniform(4.0, 6.0)))

    @property
    def width(self) -> float:
        """Metres, of the present passage."""
        # From when `hidden_share` is covered by one edge to when the other uncovers as much.
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
        """Return where it stands, (3,) metres; None while it is away."""
        since = now - self._middle
        if abs(since) > 5.0:
            return None
        hurry = max(0.0, abs(since) - self.duration / 2 - _AWAY)
        offset = self._speed * since + math.copysign(3.0 * hurry**2, since)
        way = target - camera
        level = math.hypot(way[0], way[1]) or 1.0
        across = np.array((-way[1], way[0], 0.0)) / level
        foot = camera + BEFORE * way + self._side * BEFORE * offset * across
        # In the air it reaches a little below the target.
        foot[2] = 0.0 if self._standing else foot[2] - 0.2 * self.height
        return np.asarray(foot)
