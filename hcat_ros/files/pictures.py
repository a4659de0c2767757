# SPDX-License-Identifier: Apache-2.0
"""Decodes pictures from files and messages, and writes picture files.

Pillow reads the header first, because a few kilobytes may claim a picture of gigabytes. OpenCV then
decodes from bytes and never from a path, because it ends the process on a name that is not UTF-8.
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
"""Pillow's names of the formats; the plugins that open them are imported above."""
MAX_IMAGE_PIXELS = 100_000_000
"""Default for the largest picture that is decoded, pixels: 100 megapixels take 0.3 GB."""
LARGEST_FILE = 512 << 20
_UNREADABLE = (OSError, SyntaxError, ValueError, KeyError, EOFError, OverflowError)
"""Errors of Pillow for a damaged picture."""
PNG_START = b'\x89PNG\r\n\x1a\n'

AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION | cv2.IMREAD_ANYDEPTH
"""OpenCV's flags to ignore the EXIF orientation, as image_transport does. A rotated picture would
match neither the boxes drawn in it nor the camera's calibration."""
UNCHANGED = cv2.IMREAD_UNCHANGED
"""OpenCV's flag to keep the alpha channel and 16 bits."""


class PictureError(ValueError):
    """A picture that cannot be used; the message names it and says why."""


def picture_size(data: bytes | memoryview, name: str) -> tuple[int, int]:
    """Return width and height of an encoded picture, by its header alone.

    name: name of the picture in messages. Raises PictureError for data in none of `FORMATS`.
    """
    try:
        with _open_header(data) as picture:
            width, height = picture.size
            return int(width), int(height)
    except PIL.Image.DecompressionBombError as error:
        claimed = re.search(r'\d+ pixels', str(error))
        raise PictureError(
            f'{name} has {claimed[0] if claimed else "too many pixels"} by its header, more than '
            'any limit of max_image_pixels; make it smaller'
        ) from None
    except _UNREADABLE as error:
        del error  # a parser's message does not help a user
        what = describe_stand_in(data) or f'is not a readable image ({len(data)} bytes)'
        raise PictureError(f'{name} {what}') from None


def _open_header(data: bytes | memoryview) -> PIL.Image.Image:
    """Open a picture without decoding its pixels; raises many exceptions."""
    with warnings.catch_warnings():
        # Pillow warns of large pictures and damaged EXIF data, but neither names the file.
        warnings.simplefilter('ignore')
        return PIL.Image.open(io.BytesIO(data), formats=FORMATS)


def file_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image file, by its header alone.

    Raises OSError; PictureError, naming the file.
    """
    return picture_size(read_bytes(path, LARGEST_FILE), printable(path))


def count_pictures(path: Path) -> int:
    """Return how many pictures a file holds, for example pages or an animation.

    0 stands for a file that is not named like a picture, is not readable or has too many pixels.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return 0
    try:
        with _open_header(read_bytes(path, LARGEST_FILE)) as picture:
            return int(getattr(picture, 'n_frames', 1))
    except (*_UNREADABLE, PIL.Image.DecompressionBombError):
        return 0


def decode_picture(
    data: bytes | memoryview,
    name: str,
    flags: int = AS_STORED,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> NDArray[np.uint8]:
    """Return the pixels of an encoded picture by OpenCV's `flags`, by default BGR (H, W, 3).

    name: name of the picture in messages. Raises PictureError for data that is not readable, for
    more than `max_pixels` by its header, and for more than 8 bits per channel.
    """
    pixels = _decode(data, name, flags, max_pixels)
    if pixels.dtype != np.uint8:
        # Keeping only the top 8 bits would make a thermal picture dark.
        bits = 8 * pixels.dtype.itemsize
        raise PictureError(
            f'{name} has {bits} bits per channel; expected 8. Convert the picture to 8 bits, or '
            'publish it as a raw mono16 image'
        )
    return np.asarray(pixels, np.uint8)


def decode_deep_picture(
    data: bytes | memoryview, name: str, max_pixels: int = MAX_IMAGE_PIXELS
) -> NDArray[np.uint16]:
    """Return the pixels of an encoded picture with one channel of 16 bits, (H, W).

    Raises PictureError like `decode_picture`, and for any other pixel format.
    """
    pixels = _decode(data, name, UNCHANGED, max_pixels)
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        bits = 8 * pixels.dtype.itemsize
        raise PictureError(f'{name} has {channels} channels of {bits} bits; expected one of 16')
    return np.asarray(pixels, np.uint16)


def _decode(
    data: bytes | memoryview, name: str, flags: int, max_pixels: int
) -> NDArray[np.generic]:
    width, height = picture_size(data, name)
    if width * height > max_pixels:
        raise PictureError(
            f'{name} has {width} x {height} pixels by its header, more than the {max_pixels} of '
            'max_image_pixels'
        )
    _check_chunks(memoryview(data), name)
    pixels = _pixels(data, flags)
    if pixels is None and flags != UNCHANGED:
        # OpenCV makes no colours of 32-bit TIFFs, as of thermal cameras; they are not damaged.
        deep = _pixels(data, UNCHANGED)
        pixels = None if deep is None or deep.dtype == np.uint8 else deep
    if pixels is None:
        raise PictureError(f'{name} is not a readable image ({len(data)} bytes)')
    return pixels


def _pixels(data: bytes | memoryview, flags: int) -> NDArray[np.generic] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


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
        place += length + 12  # plus the fields length, type and checksum


def read_picture(
    path: Path, flags: int = AS_STORED, max_pixels: int = MAX_IMAGE_PIXELS
) -> NDArray[np.uint8]:
    """Return the pixels of an image file, see `decode_picture`.

    Raises OSError; PictureError, naming the file; ValueError if it is not a regular file.
    """
    return decode_picture(read_bytes(path, LARGEST_FILE), printable(path), flags, max_pixels)


def read_mask(path: Path) -> tuple[NDArray[np.generic], bool]:
    """Return the pixels of a mask, (H, W), and whether they are indices into a palette.

    Each pixel of a colour mask becomes one number, (blue << 16) + (green << 8) + red; black is 0.
    Raises OSError and PictureError.
    """
    data, name = read_bytes(path, LARGEST_FILE), printable(path)
    width, height = picture_size(data, name)
    if width * height > MAX_IMAGE_PIXELS:
        _decode(data, name, UNCHANGED, MAX_IMAGE_PIXELS)  # raises the error
    with _open_header(data) as picture:
        # OpenCV returns the colours of an indexed picture, not its indices.
        if picture.mode == 'P':
            try:
                return np.asarray(picture), True
            except (OSError, SyntaxError, ValueError) as error:
                raise PictureError(f'{name} is not a readable image: {error}') from None
    mask = _decode(data, name, UNCHANGED, MAX_IMAGE_PIXELS)
    if not np.issubdtype(mask.dtype, np.integer):
        raise PictureError(f'{name} has pixels of type {mask.dtype}; expected whole numbers')
    if mask.ndim == 3:
        mask = mask[:, :, :3].astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return mask, False


def write_picture(path: Path, pixels: NDArray[np.uint8], flags: Sequence[int] = ()) -> None:
    """Write an image file in the format of its suffix, completely or not at all.

    flags: OpenCV's encoder flags, such as the quality. Raises OSError; ValueError for an unknown
    suffix.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f'{path}: expected a name that ends in {", ".join(IMAGE_SUFFIXES)}')
    is_encoded, data = cv2.imencode(path.suffix, pixels, list(flags))
    if not is_encoded:
        raise ValueError(f'OpenCV cannot encode an image of shape {pixels.shape} as {path.suffix}')
    with whole_file(path) as partial:
        partial.write_bytes(data.tobytes())


def is_image(path: Path) -> bool:
    """Return whether a path names an image; macOS's metadata files, `._0001.jpg`, do not count."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.')


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order: 2.png before 10.png."""

    def key(path: Path) -> list[tuple[str, int]]:
        return [(text, int(part or 0)) for text, part in re.findall(r'(\D*)(\d*)', path.name)]

    return sorted(filter(is_image, folder.iterdir()), key=key)
