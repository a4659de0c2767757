# SPDX-License-Identifier: Apache-2.0
"""Scales and compresses camera images for a slow link."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from hcat_ros.select_page.view import View
from hcat_ros.tracking.encodings import encoding_named, to_bgr


class Picture(NamedTuple):
    """A JPEG and the size of the image that it was made from."""

    jpeg: bytes
    width: int
    """Width of the full image, pixels."""
    height: int


def picture_of(view: View, max_width: int, quality: int) -> Picture:
    """Return the view's image as a JPEG at most `max_width` pixels wide.

    quality: 1 to 100. Raises ValueError for an image that cannot be read.
    """
    pixels, encoding = view.read()
    height, width = pixels.shape[:2]
    quality_flag = [cv2.IMWRITE_JPEG_QUALITY, quality]
    try:
        if encoding_named(encoding).shared:  # pixels that share colours cannot be scaled
            pixels, encoding = to_bgr(pixels, encoding), 'bgr8'
        if width > max_width:
            # Scale before the colours are converted: then there are fewer pixels to convert.
            size = (max_width, max(1, round(height * max_width / width)))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        done, data = cv2.imencode('.jpg', to_bgr(pixels, encoding), quality_flag)
    except cv2.error as error:
        raise ValueError(f'OpenCV cannot encode {width}x{height} {encoding}: {error}') from None
    if not done:
        raise ValueError(f'OpenCV cannot encode {width}x{height} {encoding} as JPEG')
    return Picture(data.tobytes(), width, height)
