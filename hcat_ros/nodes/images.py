# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs images to numpy and back: a view on the bytes, no copy, wherever that will do."""

from __future__ import annotations

import array
import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

from hcat_ros.tracking.encodings import (
    NO_PICTURE,
    PLANAR,
    checked_width,
    deep_to_grey,
    encoding_named,
    planes_to_rgb,
)
from hcat_ros.tracking.encodings import Image as Pixels

CONVERTED = ('mono16', *PLANAR)
"""Encodings of raw images that become another one when they arrive."""


def image_view(message: Image, mono16_bits: int = 16) -> tuple[Pixels, str]:
    """Return the pixels of a raw image, (H, W) or (H, W, channels), and their encoding.

    The array is a read-only view on the message's bytes that honours `step`; only what cannot
    be cropped as it is (mono16, nv12, nv21) is converted, to mono8 and rgb8. mono16_bits: how
    many bits of a mono16 pixel the sensor fills. Raises ValueError, naming the value, for an
    unsupported encoding and sizes that do not fit.
    """
    name, height, width = message.encoding, message.height, message.width
    channels = 1 if name in CONVERTED else encoding_named(name, also=CONVERTED).channels
    if height == 0 or width == 0:
        raise ValueError(f'image is empty: {width}x{height}')
    if name == 'mono16':
        deep = _rows(message, height, 2, '>u2' if message.is_bigendian else '<u2')
        # In the machine's own order, and aligned where an odd step leaves rows at odd places.
        deep = deep.astype(np.uint16, copy=not deep.flags.aligned)
        return deep_to_grey(deep, mono16_bits), 'mono8'
    if name in PLANAR:
        if height % 2 or width % 2:
            raise ValueError(f'a {name} image has even sides, got {width}x{height}')
        return planes_to_rgb(_rows(message, height * 3 // 2, 1), name), 'rgb8'
    checked_width(width, name)
    rows = _rows(message, height, channels)
    # A view keeps all bytes of its message, which the buffer of past frames does not count.
    if len(message.data) > 2 * rows.nbytes:
        rows = rows.copy()
    return (rows if channels == 1 else rows.reshape(height, width, channels)), name


def _rows(message: Image, count: int, pixel_bytes: int, kind: str = 'u1') -> NDArray[Any]:
    """Return the rows without what pads them, (count, bytes of a row / bytes of a `kind`)."""
    step, row = message.step, message.width * pixel_bytes
    if step < row:
        raise ValueError(
            f'image step {step} is shorter than a row: {message.width} px of {pixel_bytes} bytes '
            f'({message.encoding})'
        )
    needed = (count - 1) * step + row
    if len(message.data) < needed:
        raise ValueError(
            f'image data has {len(message.data)} bytes, {message.width}x{message.height} '
            f'{message.encoding} at step {step} needs {needed}'
        )
    size = np.dtype(kind).itemsize
    rows: NDArray[Any] = np.ndarray((count, row // size), kind, message.data, strides=(step, size))
    rows.flags.writeable = False
    return rows


def decoded_image(message: CompressedImage) -> tuple[Pixels, str]:
    """Return the pixels of a compressed image, BGR (H, W, 3), and 'bgr8'.

    Raises ValueError for data that OpenCV cannot decode and for more than 8 bits a channel.
    """
    if 'compressedDepth' in message.format:
        raise ValueError(f"compressed image of format '{message.format}': {NO_PICTURE}")
    data = np.frombuffer(message.data, np.uint8)
    # ANYDEPTH so that 16 bits are seen; without it they would be cut to 8 in silence.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        pixels = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:  # as for a header that claims a size beyond OpenCV's limit
        pixels = None
    if pixels is None:
        raise ValueError(
            f"compressed image of format '{message.format}' ({data.size} bytes) cannot be decoded"
        )
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"compressed image of format '{message.format}' holds {pixels.dtype}: expected 8 bits "
            'a channel; let the driver publish 8, or a raw mono16 image'
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
