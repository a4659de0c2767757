# SPDX-License-Identifier: Apache-2.0
"""Converts pixels to sensor_msgs images; `hcat_ros.message_data` does the reverse."""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from hcat_ros.tracking.encodings import Image as Pixels
from hcat_ros.tracking.encodings import encoding_named


def image_message(pixels: Pixels, encoding: str) -> Image:
    """Return an Image without a header that holds a copy of the pixels."""
    message = Image()
    message.height, message.width = pixels.shape[:2]
    message.encoding = encoding
    message.step = pixels.shape[1] * encoding_named(encoding).channels
    message.is_bigendian = int(sys.byteorder == 'big')
    # rclpy accepts an array of bytes without checks; it checks any other sequence value by
    # value, which takes 0.4 s at 1080p.
    message.data = array.array('B', np.ascontiguousarray(pixels).tobytes())
    return message


def depth_message(depth: NDArray[np.float32]) -> Image:
    """Return a 32FC1 Image without a header that holds a copy of a depth image in metres."""
    message = image_message(np.ascontiguousarray(depth).view(np.uint8), 'mono8')
    message.width, message.encoding = depth.shape[1], '32FC1'
    return message


def compressed_message(pixels: Pixels, quality: int) -> CompressedImage:
    """Return a JPEG of BGR or grey pixels, without a header. quality: 1 to 100."""
    message = CompressedImage()
    message.format = 'jpeg'
    done, data = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f'OpenCV cannot encode an image of shape {pixels.shape} as JPEG')
    message.data = array.array('B', data.tobytes())
    return message
