# SPDX-License-Identifier: Apache-2.0
"""The pixel encodings a frame may have, named as in sensor_msgs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.files import shown

Image = NDArray[np.uint8]


class Encoding(NamedTuple):
    """Storage of one pixel: channels of uint8, and OpenCV's codes to RGB and to BGR."""

    channels: int
    to_rgb: int | None
    to_bgr: int | None
    shared: bool = False
    """Pixels share colours with their neighbours (Bayer, 4:2:2): resizing or padding them as they
    are would mix these up, so parts of a frame become RGB when they are cut out."""
    pairs: bool = False
    """Columns come in pairs, so that the width is even."""


# OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first four.
_RGGB = Encoding(1, cv2.COLOR_BayerBG2RGB, cv2.COLOR_BayerBG2BGR, shared=True)
_BGGR = Encoding(1, cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerRG2BGR, shared=True)
_GBRG = Encoding(1, cv2.COLOR_BayerGR2RGB, cv2.COLOR_BayerGR2BGR, shared=True)
_GRBG = Encoding(1, cv2.COLOR_BayerGB2RGB, cv2.COLOR_BayerGB2BGR, shared=True)
_UYVY = Encoding(2, cv2.COLOR_YUV2RGB_UYVY, cv2.COLOR_YUV2BGR_UYVY, shared=True, pairs=True)
_YUYV = Encoding(2, cv2.COLOR_YUV2RGB_YUYV, cv2.COLOR_YUV2BGR_YUYV, shared=True, pairs=True)

ENCODINGS = {
    'bgr8': Encoding(3, cv2.COLOR_BGR2RGB, None),
    'rgb8': Encoding(3, None, cv2.COLOR_RGB2BGR),
    'bgra8': Encoding(4, cv2.COLOR_BGRA2RGB, cv2.COLOR_BGRA2BGR),
    'rgba8': Encoding(4, cv2.COLOR_RGBA2RGB, cv2.COLOR_RGBA2BGR),
    'mono8': Encoding(1, cv2.COLOR_GRAY2RGB, cv2.COLOR_GRAY2BGR),
    'bayer_rggb8': _RGGB,
    'bayer_bggr8': _BGGR,
    'bayer_gbrg8': _GBRG,
    'bayer_grbg8': _GRBG,
    # Newer distributions call both orders by what they are; the older names stay in use.
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
}
# The same bytes under OpenCV's names, which some drivers publish.
ENCODINGS['8UC1'] = ENCODINGS['mono8']
ENCODINGS['8UC3'] = ENCODINGS['bgr8']
ENCODINGS['8UC4'] = ENCODINGS['bgra8']

PLANAR = {'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21}
"""A plane of brightness above one of colours at half the size; OpenCV's codes to RGB."""

NO_PICTURE = (
    'it holds distances or measurements; track in the colour image of that camera, or publish a '
    'picture of it as mono8 or mono16'
)
_TOO_DEEP = 'it has 16 bits a channel; let the driver publish 8'
REFUSED = {
    **dict.fromkeys(('32FC1', '64FC1', '16UC1', '16SC1', '32SC1'), NO_PICTURE),
    **dict.fromkeys(('rgb16', 'bgr16', 'rgba16', 'bgra16', '16UC3', '16UC4'), _TOO_DEEP),
    **dict.fromkeys((f'bayer_{name}16' for name in ('rggb', 'bggr', 'gbrg', 'grbg')), _TOO_DEEP),
}
"""Encodings that cameras publish and that cannot be tracked in, and what to do instead."""


def encoding_named(name: str, also: Iterable[str] = ()) -> Encoding:
    """Return the encoding called `name`.

    Raises ValueError that lists what is supported, `also` included, with a remedy for the ones
    that are known.
    """
    try:
        return ENCODINGS[name]
    except KeyError:
        remedy = f': {REFUSED[name]}' if name in REFUSED else ''
        raise ValueError(
            f'encoding {shown(name)} is not supported{remedy}; supported are '
            f'{", ".join((*ENCODINGS, *also))}'
        ) from None


def checked_frame(frame: Image, encoding: str) -> Image:
    """Return `frame` if it is an image in `encoding`, one of a single channel as (H, W).

    Raises ValueError, naming what was found, unless it is uint8 and (H, W, channels), or
    (H, W) for one channel, and not empty.
    """
    kind = encoding_named(encoding)
    channels = kind.channels
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        found = getattr(frame, 'dtype', type(frame).__name__)
        raise ValueError(f'a frame is a numpy array of uint8, got {found}')
    if channels == 1 and frame.ndim == 3 and frame.shape[2] == 1:
        frame = frame[:, :, 0]
    expected = '(H, W)' if channels == 1 else f'(H, W, {channels})'
    fits = frame.ndim == 2 if channels == 1 else frame.ndim == 3 and frame.shape[2] == channels
    if not fits or frame.size == 0:
        raise ValueError(f'a {encoding} frame has shape {expected}, got {frame.shape}')
    checked_width(frame.shape[1], encoding)
    return frame


def checked_width(width: int, encoding: str) -> None:
    """Raise ValueError for a width in pixels that no frame of that encoding has."""
    if encoding_named(encoding).pairs and width % 2:
        raise ValueError(f'a {encoding} frame has an even width, got {width}')


def part_encoding(encoding: str) -> str:
    """Return the encoding of what `part` cuts out of a frame in `encoding`."""
    return 'rgb8' if encoding_named(encoding).shared else encoding


def part(frame: Image, encoding: str, top: int, bottom: int, left: int, right: int) -> Image:
    """Return rows top..bottom - 1 and columns left..right - 1 of a frame, in `part_encoding`.

    A view on them as they are stored or, where pixels share colours, their RGB, (h, w, 3): the
    same as in the whole frame converted.
    """
    kind = encoding_named(encoding)
    if not kind.shared or kind.to_rgb is None:
        return frame[top:bottom, left:right]
    # Two more pixels all round, for the neighbours that colours are taken from, then to an even
    # place, where the pattern begins.
    y, x = max(0, top - 2) // 2 * 2, max(0, left - 2) // 2 * 2
    wider = frame[y : (bottom + 3) // 2 * 2, x : (right + 3) // 2 * 2]
    rgb = np.asarray(cv2.cvtColor(wider, kind.to_rgb), np.uint8)
    return rgb[top - y : bottom - y, left - x : right - x]


def to_rgb(image: Image, encoding: str) -> Image:
    """Return `image` as RGB (H, W, 3); the very array if it is RGB."""
    code = encoding_named(encoding).to_rgb
    return image if code is None else np.asarray(cv2.cvtColor(image, code), np.uint8)


def to_bgr(image: Image, encoding: str) -> Image:
    """Return `image` as BGR (H, W, 3), OpenCV's order; the very array if it is BGR."""
    code = encoding_named(encoding).to_bgr
    return image if code is None else np.asarray(cv2.cvtColor(image, code), np.uint8)


def planes_to_rgb(planes: Image, encoding: str) -> Image:
    """Return planes, (3 H / 2, W) of a `PLANAR` encoding, as RGB (H, W, 3)."""
    return np.asarray(cv2.cvtColor(planes, PLANAR[encoding]), np.uint8)


def deep_to_grey(pixels: NDArray[np.uint16], bits: int) -> Image:
    """Return mono16 pixels, (H, W), as mono8: the top 8 of their `bits` lower bits, rounded.

    bits: 8 to 16, what the sensor has; values over them become 255.
    """
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=2.0 ** (8 - bits)), np.uint8)
