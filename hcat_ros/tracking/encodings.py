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
    """Storage of one pixel: number of uint8 channels, and OpenCV's codes to RGB and to BGR.

    A code is None where the pixels have that order already.
    """

    channels: int
    to_rgb: int | None
    to_bgr: int | None
    shared: bool = False
    """Whether pixels share colours with their neighbours (Bayer, 4:2:2). Resizing or padding such
    pixels would mix up their colours, so a part that is cut out of a frame is converted to RGB."""
    pairs: bool = False
    """Whether columns are stored in pairs, so that the width must be even."""


# OpenCV names a Bayer pattern after the second and third pixel of the second row, ROS after the
# upper left 2x2 pixels.
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
    # Newer ROS distributions name the byte order (uyvy, yuyv); the older names are still in use.
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
"""Encodings with a brightness plane above a half-size colour plane, and OpenCV's codes to RGB."""

NO_PICTURE = (
    "it holds distances or measurements; track in the camera's colour image, or publish the "
    'values as a mono8 or mono16 picture'
)
_TOO_DEEP = 'it has 16 bits per channel; set the camera driver to 8 bits'
REFUSED = {
    **dict.fromkeys(('32FC1', '64FC1', '16UC1', '16SC1', '32SC1'), NO_PICTURE),
    **dict.fromkeys(('rgb16', 'bgr16', 'rgba16', 'bgra16', '16UC3', '16UC4'), _TOO_DEEP),
    **dict.fromkeys((f'bayer_{name}16' for name in ('rggb', 'bggr', 'gbrg', 'grbg')), _TOO_DEEP),
}
"""Encodings that cameras publish but the tracker cannot use, with the reason and the remedy."""


def encoding_named(name: str, also: Iterable[str] = ()) -> Encoding:
    """Return the encoding called `name`.

    Raises ValueError that lists the supported encodings, including `also`, and gives the remedy for
    an encoding in `REFUSED`.
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
    """Return `frame` if it is an image in `encoding`; the shape (H, W, 1) becomes (H, W).

    Raises ValueError, naming the type or shape, unless the frame is of uint8, not empty and
    (H, W, channels), or (H, W) for one channel.
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
    """Raise ValueError for an odd width, pixels, if the encoding stores columns in pairs."""
    if encoding_named(encoding).pairs and width % 2:
        raise ValueError(f'a {encoding} frame has an even width, got {width}')


def part_encoding(encoding: str) -> str:
    """Return the encoding in which `part` returns a part of a frame in `encoding`."""
    return 'rgb8' if encoding_named(encoding).shared else encoding


def part(frame: Image, encoding: str, top: int, bottom: int, left: int, right: int) -> Image:
    """Return rows top..bottom - 1 and columns left..right - 1 of a frame, in `part_encoding`.

    The result is a view on the frame or, where pixels share colours, RGB (h, w, 3) with the same
    values as if the whole frame had been converted.
    """
    kind = encoding_named(encoding)
    if not kind.shared or kind.to_rgb is None:
        return frame[top:bottom, left:right]
    # Convert two more pixels on each side, because colours come from neighbours, and begin at an
    # even row and column, where the pattern begins.
    y, x = max(0, top - 2) // 2 * 2, max(0, left - 2) // 2 * 2
    wider = frame[y : (bottom + 3) // 2 * 2, x : (right + 3) // 2 * 2]
    rgb = np.asarray(cv2.cvtColor(wider, kind.to_rgb), np.uint8)
    return rgb[top - y : bottom - y, left - x : right - x]


def to_rgb(image: Image, encoding: str) -> Image:
    """Return `image` as RGB (H, W, 3); an RGB image is returned without a copy."""
    code = encoding_named(encoding).to_rgb
    return image if code is None else np.asarray(cv2.cvtColor(image, code), np.uint8)


def to_bgr(image: Image, encoding: str) -> Image:
    """Return `image` as BGR (H, W, 3); a BGR image is returned without a copy."""
    code = encoding_named(encoding).to_bgr
    return image if code is None else np.asarray(cv2.cvtColor(image, code), np.uint8)


def planes_to_rgb(planes: Image, encoding: str) -> Image:
    """Return an image in a `PLANAR` encoding, (3 H / 2, W), as RGB (H, W, 3)."""
    return np.asarray(cv2.cvtColor(planes, PLANAR[encoding]), np.uint8)


def deep_to_grey(pixels: NDArray[np.uint16], bits: int) -> Image:
    """Return mono16 pixels, (H, W), as mono8: values times 2^(8 - bits), rounded.

    bits: number of bits that the sensor uses, 8 to 16; larger values become 255.
    """
    return np.asarray(cv2.convertScaleAbs(pixels, alpha=2.0 ** (8 - bits)), np.uint8)
