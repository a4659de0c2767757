# SPDX-License-Identifier: Apache-2.0
"""Detects a frozen camera, which repeats its last picture with new stamps."""

from __future__ import annotations

import numpy as np

from hcat_ros.tracking.encodings import Image

ROWS_APART = 16
"""Distance between the rows that are compared first: almost every new picture differs in one."""
LEAST_REPEATS = 2
"""Minimum number of repeats of a frozen image; videos with a raised frame rate repeat images."""


class FrozenImages:
    """Measures for how long images stay identical; sensor noise makes live images differ."""

    def __init__(self) -> None:
        self._first: Image | None = None
        self._since = 0.0
        self._repeats = 0

    def seconds(self, image: Image, arrival: float) -> float:
        """Take the next image; return for how many seconds images have been the same, 0 if new.

        arrival: arrival time by a monotonic clock, seconds.
        """
        if self._first is None or not _same(image, self._first):
            self._first, self._since, self._repeats = image, arrival, 0
            return 0.0
        self._repeats += 1
        return max(arrival - self._since, 0.0) if self._repeats >= LEAST_REPEATS else 0.0


def _same(a: Image, b: Image) -> bool:
    return (
        a.shape == b.shape
        and bool(np.array_equal(a[::ROWS_APART], b[::ROWS_APART]))
        and bool(np.array_equal(a, b))
    )
