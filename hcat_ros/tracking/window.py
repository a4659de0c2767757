# SPDX-License-Identifier: Apache-2.0
"""The window penalty: large jumps of the target are unlikely."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=8)
def hanning_window(grid: int) -> NDArray[np.float64]:
    """Return the outer product of two Hanning windows, (grid, grid), read-only."""
    side = np.hanning(grid)
    window: NDArray[np.float64] = np.outer(side, side).astype(np.float64)
    window.flags.writeable = False
    return window


def penalised(scores: NDArray[np.floating], weight: float) -> NDArray[np.float64]:
    """Return p' = (1 - a) p + a h for scores p (grid, grid) and the weight a in 0..1."""
    return (1 - weight) * scores.astype(np.float64) + weight * hanning_window(len(scores))
