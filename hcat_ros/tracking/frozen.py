# SPDX-License-Identifier: Apache-2.0
"""A camera that sends its last picture again and again, with new stamps."""

from __future__ import annotations

import numpy as np

from hcat_ros.tracking.encodings import Image

ROWS_APART = 16
"""Between rows that are compared first: almost every new picture differs in one of them."""
LEAST_REPEATS = 2
"""Videos made faster show pictures twice."""


class FrozenImages:
    """Tells for how long images are the same to the last bit, which a sensor's noise prevents."""

    def __init__(self) -> None:
        self._first: Image | None = None
        self._since = 0.0
        self._repeats = 0

    def seconds(self, image: Image, arrival: float) -> float:
        """Take the next image; return for how long it has been the same, 0 if it is a new one.

        arrival: seconds of a clock that is never set.
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
