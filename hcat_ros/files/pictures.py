# SPDX-License-Identifier: Apache-2.0
"""The one place that decodes pictures of files and messages, and writes them.

The header is read first, by Pillow: a few kilobytes may claim a picture of gigabytes. OpenCV, which
decodes, is given bytes and never a path: it ends the process on a name that is not UTF-8.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import (  # noqa: F401
    BmpImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from hcat_ros.files.reading import describe_stand_in, printable, read_bytes
from hcat_ros.files.writing import whole_file

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
FORMATS = ('BMP', 'JPEG', 'PNG', 'TIFF', 'WEBP')
"""Pillow's names; its plugins, which open them, are imported above."""
MAX_IMAGE_PIXELS = 100_000_000
"""Pixels of a picture that is decoded, unless told otherwise: 100 megapixels, 0.3 GB."""
LARGEST_FILE = 512 << 20
PNG_START = b'\x89PNG\r\n\x1a\n'

AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH
"""Reads a picture as it is stored, as image_transport does: turned by what its EXIF says, it would
fit neither the boxes drawn in it nor the camera's calibration."""
UNCHANGED = cv2.IMREAD_UNCHANGED
"""Flag of OpenCV that keeps the alpha channel and 16 bits."""


class PictureError(ValueError):
    """A picture that cannot be used; the message names it and says why."""


def picture_size(data: bytes | memoryview, name: str) -> tuple[int, int]:
    """Return width and height of an encoded picture, by its header alone.

    name: for messages. Raises PictureError for what is none of `FORMATS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                width, height = picture.size
                return int(width), int(height)
    except PIL.Image.DecompressionBombError as error:
        claimed = re.search(r'\d+ pixels', str(error))
        raise PictureError(
            f'{name} has {claimed[0] if claimed else "too many pixels"} by its header, more than '
            'any limit of max_image_pixels; make it smaller'
        ) from None
    except (OSError, SyntaxError, ValueError, KeyError, EOFError, OverflowError) as error:
        del error  # of a parser; says nothing to a user
        what = describe_stand_in(data) or f'is not a readable image ({len(data)} bytes)'
        raise PictureError(f'{name} {what}') from None


def file_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, by its header alone.

    Raises OSError; PictureError, naming the file.
    """
    return picture_size(read_bytes(path, LARGEST_FILE), printable(path))


def has_several_pictures(path: Path) -> bool:
    """Return whether an image file holds several pictures, as pages or an animation.

    An unreadable file counts as one picture: whoever reads it next says what is wrong with it.
    """
    try:
        with PIL.Image.open(io.BytesIO(read_bytes(path, LARGEST_FILE)), formats=FORMATS) as picture:
            return bool(getattr(picture, 'is_animated', False))
    except (OSError, SyntaxError, ValueError, KeyError, EOFError, OverflowError):
        return False


def decode_picture(
    data: bytes | memoryview,
    name: str,
    flags: int = AS_STORED,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> NDArray[np.uint8]:
    """Return the pixels of an encoded picture as OpenCV's `flags` say, by default BGR (H, W, 3).

    Raises PictureError, naming it by `name`: not readable, more than `max_pixels` by its header,
    more than 8 bits a channel.
    """
    pixels = _decoded(data, name, flags, max_pixels)
    if pixels.dtype != np.uint8:
        bits = 8 * pixels.dtype.itemsize
        raise PictureError(
            f'{name} has {bits} bits a channel; expected 8: cut to 8 in silence, a thermal picture '
            'would be dark. Convert it first, or publish it as a raw mono16 image'
        )
    return np.asarray(pixels, np.uint8)


def decode_deep_picture(
    data: bytes | memoryview, name: str, max_pixels: int = MAX_IMAGE_PIXELS
) -> NDArray[np.uint16]:
    """Return the pixels of an encoded picture of one channel of 16 bits, (H, W).

    Raises PictureError as `decode_picture`, and for any other kind of pixel.
    """
    pixels = _decoded(data, name, UNCHANGED, max_pixels)
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        bits = 8 * pixels.dtype.itemsize
        raise PictureError(f'{name} has {channels} channels of {bits} bits; expected one of 16')
    return np.asarray(pixels, np.uint16)


def _decoded(
    data: bytes | memoryview, name: str, flags: int, max_pixels: int
) -> NDArray[np.generic]:
    width, height = picture_size(data, name)
    if width * height > max_pixels:
        raise PictureError(
            f'{name} has {width} x {height} pixels by its header, more than the {max_pixels} of '
            'max_image_pixels'
        )
    _check_chunks(memoryview(data), name)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise PictureError(f'{name} is not a readable image ({len(data)} bytes)')
    return pixels


def _check_chunks(data: memoryview, name: str) -> None:
    """Raise PictureError for a PNG with a chunk that claims more bytes than the file has.

    OpenCV 5 allocates the claimed size, up to 4 GB, before it reads the chunk.
    """
    if bytes(data[: len(PNG_START)]) != PNG_START:
        return
    place = len(PNG_START)
    while place < len(data) and bytes(data[place + 4 : place + 8]) != b'IEND':
        length = int.from_bytes(data[place : place + 4], 'big')
        if length > len(data) - place:
            raise PictureError(
                f'{name} is not a readable image: a chunk claims {length} bytes, the whole file '
                f'has {len(data)}'
            )
        place += length + 12  # length, type and check sum


def read_picture(
    path: Path, flags: int = AS_STORED, max_pixels: int = MAX_IMAGE_PIXELS
) -> NDArray[np.uint8]:
    """Return the pixels of an image file, as `decode_picture`.

    Raises OSError; PictureError, naming the file; ValueError for what is no regular file.
    """
    return decode_picture(read_bytes(path, LARGEST_FILE), printable(path), flags, max_pixels)


def read_mask(path: Path) -> tuple[NDArray[np.generic], bool]:
    """Return the pixels of a mask, (H, W), and whether they are the indices of a palette.

    A mask in colours has those, as one number each, (blue << 16) + (green << 8) + red, black 0.
    Raises OSError and PictureError.
    """
    data, name = read_bytes(path, LARGEST_FILE), printable(path)
    width, height = picture_size(data, name)
    if width * height > MAX_IMAGE_PIXELS:
        _decoded(data, name, UNCHANGED, MAX_IMAGE_PIXELS)
    with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        # OpenCV gives the colours of an indexed picture, not its indices.
        if picture.mode == 'P':
            try:
                return np.asarray(picture), True
            except (OSError, SyntaxError, ValueError) as error:
                raise PictureError(f'{name} is not a readable image: {error}') from None
    mask = _decoded(data, name, UNCHANGED, MAX_IMAGE_PIXELS)
    if not np.issubdtype(mask.dtype, np.integer):
        raise PictureError(f'{name} has pixels of type {mask.dtype}; expected whole numbers')
    if mask.ndim == 3:
        mask = mask[:, :, :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return mask, False


def write_picture(path: Path, pixels: NDArray[np.uint8], flags: Sequence[int] = ()) -> None:
    """Write an image file in the format of its suffix, whole or not at all.

    flags: OpenCV's, as the quality. Raises OSError; ValueError for a suffix of no format.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f'{path}: expected a name that ends in {", ".join(IMAGE_SUFFIXES)}')
    done, data = cv2.imencode(path.suffix, pixels, list(flags))
    if not done:
        raise ValueError(f'OpenCV cannot encode an image of shape {pixels.shape} as {path.suffix}')
    with whole_file(path) as partial:
        partial.write_bytes(data.tobytes())


def is_image(path: Path) -> bool:
    """Return whether a name is an image's; `._0001.jpg` and its like are macOS's notes."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.')


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order: 2.png before 10.png."""

    def key(path: Path) -> list[tuple[str, int]]:
        return [(text, int(part or 0)) for text, part in re.findall(r'(\D*)(\d*)', path.name)]

    return sorted(filter(is_image, folder.iterdir()), key=key)
