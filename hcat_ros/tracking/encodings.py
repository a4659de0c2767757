# SPDX-License-Identifier: Apache-2.0
"""The pixel encodings a frame may have, named as in sensor_msgs."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Encoding(NamedTuple):
    """How one pixel is stored: channels of uint8, and OpenCV's codes to RGB and to BGR."""

    channels: int
    to_rgb: int | None
    to_bgr: int | None


ENCODINGS = {
    'bgr8': Encoding(3, cv2.COLOR_BGR2RGB, None),
    'rgb8': Encoding(3, None, cv2.COLOR_RGB2BGR),
    'bgra8': Encoding(4, cv2.COLOR_BGRA2RGB, cv2.COLOR_BGRA2BGR),
    'rgba8': Encoding(4, cv2.COLOR_RGBA2RGB, cv2.COLOR_RGBA2BGR),
    'mono8': Encoding(1, cv2.COLOR_GRAY2RGB, cv2.COLOR_GRAY2BGR),
}
# The same bytes under OpenCV's names, which some drivers publish.
ENCODINGS['8UC1'] = ENCODINGS['mono8']
ENCODINGS['8UC3'] = ENCODINGS['bgr8']
ENCODINGS['8UC4'] = ENCODINGS['bgra8']


def encoding_named(name: str) -> Encoding:
    """Return the encoding called `name`. Raises ValueError listing what is supported."""
    try:
        return ENCODINGS[name]
    except KeyError:
        raise ValueError(
            f"encoding '{name}' is not supported; supported are {', '.join(ENCODINGS)}"
        ) from None


def checked_frame(frame: Image, encoding: str) -> Image:
    """Return `frame` if it is an image in `encoding`, a grey one as (H, W).

    Raises ValueError, naming what was found, unless it is uint8 and (H, W, channels), or
    (H, W) for one channel, and not empty.
    """
    channels = encoding_named(encoding).channels
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        found = getattr(frame, 'dtype', type(frame).__name__)
        raise ValueError(f'a frame is a numpy array of uint8, got {found}')
    if channels == 1 and frame.ndim == 3 and frame.shape[2] == 1:
        frame = frame[:, :, 0]
    expected = '(H, W)' if channels == 1 else f'(H, W, {channels})'
    fits = frame.ndim == 2 if channels == 1 else frame.ndim == 3 and frame.shape[2] == channels
    if not fits or frame.size == 0:
        raise ValueError(f'a {encoding} frame has shape {expected}, got {frame.shape}')
    return frame


def to_rgb(image: Image, encoding: str) -> Image:
    """Return `image` as RGB (H, W, 3); the very array if it is RGB."""
    code = encoding_named(encoding).to_rgb
    return image if code is None else np.asarray(cv2.cvtColor(image, code), np.uint8)


def to_bgr(image: Image, encoding: str) -> Image:
    """Return `image` as BGR (H, W, 3), OpenCV's order; the very array if it is BGR."""
    code = encoding_named(encoding).to_bgr
    return image if code is None else np.asarray(cv2.cvtColor(image, code), np.uint8)
