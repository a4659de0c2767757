# SPDX-License-Identifier: Apache-2.0
"""The noise and the changing exposure that a sensor adds to a picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.tracking.encodings import Image


class Sensor:
    """Adds noise and changing exposure to pictures of width x height pixels.

    noise: standard deviation in grey levels. exposure_change: share by which the brightness
    goes up and down.
    """

    def __init__(
        self, width: int, height: int, noise: float, exposure_change: float, seed: int
    ) -> None:
        self._rng = rng = np.random.default_rng(seed)
        self._size = (height, width)
        self._change = exposure_change
        self._phase = float(rng.uniform(0, 2 * math.pi))
        self._period = float(rng.uniform(5, 11))
        self._noise: NDArray[np.int16] | None = None
        if noise > 0:
            # One noise field is shifted at random for each frame, because drawing a new field takes
            # longer than rendering the rest of the picture.
            field = rng.standard_normal((height + 64, width + 64, 3), np.float32) * noise
            self._noise = np.clip(np.rint(field), -127, 127).astype(np.int16)

    def exposed(self, image: Image, time: float) -> Image:
        """Return the picture as the sensor records it at `time`; may return the same array."""
        if self._change:
            gain = 1 + self._change * math.sin(2 * math.pi * time / self._period + self._phase)
            image = np.asarray(cv2.convertScaleAbs(image, alpha=gain), np.uint8)
        if self._noise is not None:
            x, y = self._rng.integers(0, 65, 2).tolist()
            height, width = self._size
            noise = self._noise[y : y + height, x : x + width]
            image = np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
        return image
