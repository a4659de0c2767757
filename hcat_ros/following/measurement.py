# SPDX-License-Identifier: Apache-2.0
"""Bearing and angular size of the target in one track, with their uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.following.camera import CameraModel

BORDER = 1.0
"""Pixels from the border of the image within which a box counts as cut off."""
SMALLEST_VARIANCE, LARGEST_VARIANCE = 1e-12, 10.0
"""Limits of a bearing variance, rad^2: no camera is more precise, and a larger one is useless."""
LEAST_SIZE = 1e-6
"""Smallest angular size, rad."""


@dataclass(frozen=True)
class BearingMeasurement:
    """Bearing (rad, to the left and up) and angular size of a target in the image of `stamp`."""

    stamp: float
    """Stamp of the image, seconds."""
    azimuth: float
    elevation: float
    covariance: NDArray[np.float64]
    """(2, 2) of azimuth and elevation, rad^2."""
    width_rad: float
    height_rad: float
    score: float
    """Raw score of the tracker, 0..1."""
    target: str = ''
    """Id of the target; another id makes the follower start anew."""
    width_clipped: bool = False
    """Whether the border of the image may hide a part, so that the target is wider than seen."""
    height_clipped: bool = False

    def is_sound(self) -> bool:
        """Return whether all numbers are finite and can be angles, sizes and a covariance."""
        covariance = np.asarray(self.covariance, np.float64)
        numbers = (
            self.stamp,
            self.azimuth,
            self.elevation,
            self.width_rad,
            self.height_rad,
            self.score,
        )
        return (
            bool(np.isfinite(numbers).all())
            and covariance.shape == (2, 2)
            and bool(np.isfinite(covariance).all())
            and bool((covariance.diagonal() >= SMALLEST_VARIANCE).all())
            and bool((covariance.diagonal() <= LARGEST_VARIANCE).all())
            and float(covariance[0, 1]) == float(covariance[1, 0])
            and float(np.linalg.det(covariance)) >= SMALLEST_VARIANCE**2
            and abs(self.azimuth) <= math.pi
            and abs(self.elevation) <= math.pi / 2
            and LEAST_SIZE <= self.width_rad <= math.pi
            and LEAST_SIZE <= self.height_rad <= math.pi
        )


def bearing_of(
    box: Box,
    camera: CameraModel,
    score: float,
    stamp: float,
    target: str = '',
    centre_noise: float = 0.05,
) -> BearingMeasurement:
    """Return the bearing of a box in full-image pixels, seen at `stamp` (s).

    The standard deviation of the centre is `centre_noise` times the side plus one pixel. Non-finite
    values pass through: `Follower.track` refuses them.
    """
    azimuth, elevation = camera.bearing(box.cx, box.cy)
    width, height = camera.angular_size(box)
    deviation = np.array(
        [centre_noise * width + 1 / camera.fx, centre_noise * height + 1 / camera.fy]
    )
    return BearingMeasurement(
        stamp,
        azimuth,
        elevation,
        np.diag(deviation**2),
        width,
        height,
        score,
        target,
        box.x <= BORDER or box.x + box.w >= camera.width - BORDER,
        box.y <= BORDER or box.y + box.h >= camera.height - BORDER,
    )
