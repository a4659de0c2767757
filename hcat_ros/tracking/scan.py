# SPDX-License-Identifier: Apache-2.0
"""Scans the whole frame for a lost target, nearest places first."""

from __future__ import annotations

from hcat_ros.boxes import Box
from hcat_ros.tracking.crop import SEARCH_FACTOR, crop_side

MIN_SIZE = 10.0
"""Smallest side of a tracked target, pixels."""
STEP = 0.5
"""Distance between neighbouring search regions, as a share of their side. The regions overlap, so
that a target on the border of one region is well inside the next."""


class Scan:
    """Returns search regions one after the other; after the last region it starts again."""

    def __init__(self, last_seen: Box) -> None:
        """last_seen: the last sure box; the scan starts there, and all boxes have its size."""
        # An init box of one pixel would otherwise need half a million regions.
        size = max(last_seen.w, MIN_SIZE), max(last_seen.h, MIN_SIZE)
        self._seen = Box.from_center(last_seen.cx, last_seen.cy, *size)
        self._boxes_to_search: list[Box] = []
        self._frame = (0, 0)

    def next(self, width: int, height: int) -> Box:
        """Return the next box to search around in a frame of this size, pixels.

        A frame of another size restarts the scan at the region nearest to `last_seen`.
        """
        if not self._boxes_to_search or self._frame != (width, height):
            self._frame = (width, height)
            step = STEP * crop_side(self._seen.w, self._seen.h, SEARCH_FACTOR)
            columns, rows = max(1, round(width / step)), max(1, round(height / step))
            around = [
                Box.from_center(
                    (column + 0.5) * width / columns,
                    (row + 0.5) * height / rows,
                    *self._seen[2:],
                )
                for column in range(columns)
                for row in range(rows)
            ]
            self._boxes_to_search = sorted(around, key=self._distance, reverse=True)
        return self._boxes_to_search.pop()

    def _distance(self, box: Box) -> float:
        """Return the square of the distance from where the target was last seen."""
        return (box.cx - self._seen.cx) ** 2 + (box.cy - self._seen.cy) ** 2
