# SPDX-License-Identifier: Apache-2.0
"""Reads pixels, boxes and stamps from ROS messages.

This module does not import ROS. A message is any object with its fields, from rclpy or rosbags.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.files import shown
from hcat_ros.files.pictures import MAX_IMAGE_PIXELS, decode_deep_picture, decode_picture
from hcat_ros.tracking.encodings import (
    NO_PICTURE,
    PLANAR,
    Image,
    checked_width,
    deep_to_grey,
    encoding_named,
    planes_to_rgb,
)

CONVERTED = ('mono16', *PLANAR)
"""Encodings of raw images that are converted to another encoding on arrival."""


class Stamp(Protocol):
    """Fields of builtin_interfaces/Time."""

    sec: int
    nanosec: int


class RawImage(Protocol):
    """Fields of sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any
    """Buffer of bytes whose length is their number."""


class EncodedImage(Protocol):
    """Fields of sensor_msgs/CompressedImage."""

    format: str
    data: Any


class Detection(Protocol):
    """Fields of vision_msgs/Detection2D."""

    bbox: Any
    results: Sequence[Any]


def nanoseconds(stamp: Stamp) -> int:
    """Return a stamp in nanoseconds; rclpy's own conversion raises for stamps before 1970."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def image_view(message: RawImage, mono16_bits: int = 16) -> tuple[Image, str]:
    """Return the pixels of a raw image, (H, W) or (H, W, channels), and their encoding.

    The array is a read-only view on the message's bytes that honours `step`. Only encodings that
    cannot be cropped directly are converted: mono16 to mono8, nv12 and nv21 to rgb8. mono16_bits:
    number of bits that the sensor uses in a mono16 pixel. Raises ValueError, naming the value, for
    an unsupported encoding and sizes that do not fit.
    """
    name, height, width = message.encoding, message.height, message.width
    channels = 1 if name in CONVERTED else encoding_named(name, also=CONVERTED).channels
    if height == 0 or width == 0:
        raise ValueError(f'image is empty: {width}x{height}')
    if name == 'mono16':
        deep = _rows(message, height, 2, '>u2' if message.is_bigendian else '<u2')
        # Convert to the machine's byte order, and align rows that an odd step leaves unaligned.
        deep = deep.astype(np.uint16, copy=not deep.flags.aligned)
        return deep_to_grey(deep, mono16_bits), 'mono8'
    if name in PLANAR:
        if height % 2 or width % 2:
            raise ValueError(f'a {name} image has even sides, got {width}x{height}')
        return planes_to_rgb(_rows(message, height * 3 // 2, 1), name), 'rgb8'
    checked_width(width, name)
    rows = _rows(message, height, channels)
    # A view keeps all bytes of its message in memory, but the frame buffer only counts the pixels.
    if len(message.data) > 2 * rows.nbytes:
        rows = rows.copy()
    return (rows if channels == 1 else rows.reshape(height, width, channels)), name


def _rows(message: RawImage, count: int, pixel_bytes: int, kind: str = 'u1') -> NDArray[Any]:
    """Return the rows without padding, (count, bytes of a row / bytes of a `kind`)."""
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


def decoded_image(message: EncodedImage, max_pixels: int = MAX_IMAGE_PIXELS) -> tuple[Image, str]:
    """Return the pixels of a compressed image, BGR (H, W, 3), and 'bgr8'.

    Raises ValueError for data that OpenCV cannot decode, for more than `max_pixels` by its header
    and for more than 8 bits per channel.
    """
    if 'compressedDepth' in message.format:
        raise ValueError(f'compressed image of format {shown(message.format)}: {NO_PICTURE}')
    name = f'compressed image of format {shown(message.format)}'
    return decode_picture(message.data, name, max_pixels=max_pixels), 'bgr8'


DEPTHS = {'16UC1': 0.001, 'mono16': 0.001, '32FC1': 1.0}
"""Encodings of depth images (REP-118) and the metres per unit of their pixels."""
DEPTH_HEADER = struct.Struct('<iff')
"""Header before the picture of a compressedDepth message: its format and the parameters A, B of a
32FC1 image, whose depth is A / (value - B)."""


class DepthView(NamedTuple):
    """A depth image and its unit."""

    pixels: NDArray[Any]
    """Depth of each pixel, (H, W); 0 or NaN where the depth is unknown."""
    metres: float
    """Metres per unit of `pixels`."""


def depth_view(message: RawImage) -> DepthView:
    """Return a depth image, a read-only view on the message's bytes.

    Raises ValueError, naming the value, for another encoding and for sizes that do not fit.
    """
    metres = DEPTHS.get(message.encoding)
    if metres is None:
        raise ValueError(f'encoding {shown(message.encoding)}: expected 16UC1 (mm) or 32FC1 (m)')
    if message.height == 0 or message.width == 0:
        raise ValueError(f'depth image is empty: {message.width}x{message.height}')
    order = '>' if message.is_bigendian else '<'
    kind, size = ('f4', 4) if message.encoding == '32FC1' else ('u2', 2)
    return DepthView(_rows(message, message.height, size, order + kind), metres)


def decoded_depth(message: EncodedImage, max_pixels: int = MAX_IMAGE_PIXELS) -> DepthView:
    """Return a depth image that compressed_depth_image_transport has encoded as PNG.

    Raises ValueError, naming the value, for another format, damaged data, or more than
    `max_pixels`.
    """
    name, data = f'depth of format {shown(message.format)}', bytes(message.data)
    encoding, _, packing = message.format.partition(';')
    if 'compressedDepth' not in packing or 'rvl' in packing.lower():
        raise ValueError(
            f"{name}: expected compressedDepth with PNG; set the publisher's parameter format to "
            'png, or use the raw image'
        )
    if encoding not in DEPTHS or len(data) <= DEPTH_HEADER.size:
        raise ValueError(f'{name} of {len(data)} bytes: expected 16UC1 or 32FC1 as PNG')
    _, a, b = DEPTH_HEADER.unpack_from(data)
    pixels = decode_deep_picture(data[DEPTH_HEADER.size :], name, max_pixels)
    if encoding != '32FC1':
        return DepthView(pixels, DEPTHS[encoding])
    with np.errstate(divide='ignore', invalid='ignore'):
        depth = np.where(pixels > 0, np.float32(a) / (pixels - np.float32(b)), np.float32(np.nan))
    return DepthView(depth, 1.0)


def box_of(detection: Detection) -> Box:
    """Return the detection's box, pixels; for a rotated box, the upright box around it."""
    center, theta = detection.bbox.center, detection.bbox.center.theta
    w, h = detection.bbox.size_x, detection.bbox.size_y
    if theta:
        c, s = (abs(np.cos(theta)), abs(np.sin(theta))) if np.isfinite(theta) else (np.nan, np.nan)
        w, h = float(w * c + h * s), float(w * s + h * c)
    return Box.from_center(center.position.x, center.position.y, w, h)


def best_class(detection: Detection) -> tuple[str, float]:
    """Return the class and score of the best hypothesis, ('', 0.0) if there is none.

    The score is NaN only if all scores are NaN, because a NaN counts as the lowest score.
    """
    hypotheses = [result.hypothesis for result in detection.results]
    if not hypotheses:
        return '', 0.0
    best = max(hypotheses, key=lambda h: -math.inf if math.isnan(h.score) else h.score)
    return best.class_id, best.score
