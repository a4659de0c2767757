# SPDX-License-Identifier: Apache-2.0
"""Where the target is and how it moves: a Kalman filter over its bearing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Bearing(NamedTuple):
    """A bearing at a time, in the camera mount's frame of that time."""

    time: float
    azimuth: float
    """rad to the left."""
    elevation: float
    """rad up."""
    azimuth_rate: float
    """rad/s, the target's own: what the camera's turning adds is taken out."""
    elevation_rate: float
    covariance: NDArray[np.float64]
    """(4, 4), in the order of the fields."""
