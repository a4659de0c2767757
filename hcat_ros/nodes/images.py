# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs images to numpy and back. A view on the bytes, never a copy of a raw image."""

from __future__ import annotations

import array
import sys

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from hcat_ros.tracking.encodings import Image as Pixels
from hcat_ros.tracking.encodings import encoding_named


def image_view(message: Image) -> tuple[Pixels, str]:
    """Return the pixels of a raw image, (H, W) or (H, W, channels), and their encoding.

    The array is a read-only view on the message's bytes that honours `step`. Raises
    ValueError, naming the value, for an unsupported encoding and sizes that do not fit.
    """
    channels = encoding_named(message.encoding).channels
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise ValueError(f'image is empty: {width}x{height}')
    if step < width * channels:
        raise ValueError(
            f'image step {step} is shorter than a row: {width} px of {channels} bytes '
            f'({message.encoding})'
        )
    needed = (height - 1) * step + width * channels
    if len(message.data) < needed:
        raise ValueError(
            f'image data has {len(message.data)} bytes, {width}x{height} {message.encoding} at '
            f'step {step} needs {needed}'
        )
    axes = 2 if channels == 1 else 3
    shape, strides = (height, width, channels)[:axes], (step, channels, 1)[:axes]
    data = np.frombuffer(message.data, np.uint8)
    pixels: Pixels = np.lib.stride_tricks.as_strided(data, shape, strides, writeable=False)
    return pixels, message.encoding


def decoded_image(message: CompressedImage) -> tuple[Pixels, str]:
    """Return the pixels of a compressed image, BGR (H, W, 3), and 'bgr8'.

    Raises ValueError for data that OpenCV cannot decode.
    """
    data = np.frombuffer(message.data, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if pixels is None:
        raise ValueError(
            f"compressed image of format '{message.format}' ({data.size} bytes) cannot be decoded"
        )
    return np.asarray(pixels, np.uint8), 'bgr8'


def image_message(pixels: Pixels, encoding: str) -> Image:
    """Return an Image without a header that holds a copy of the pixels."""
    message = Image()
    message.height, message.width = pixels.shape[:2]
    message.encoding = encoding
    message.step = pixels.shape[1] * encoding_named(encoding).channels
    message.is_bigendian = int(sys.byteorder == 'big')
    # An array of bytes is taken as it is; rclpy checks any other sequence value by value,
    # which takes 0.4 s at 1080p.
    message.data = array.array('B', np.ascontiguousarray(pixels).tobytes())
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
