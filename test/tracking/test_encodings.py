# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hcat_ros.tracking.encodings import (
    ENCODINGS,
    checked_frame,
    deep_to_grey,
    encoding_named,
    part,
    part_encoding,
    planes_to_rgb,
    to_bgr,
    to_rgb,
)

# Channel order of a pixel in each encoding.
ORDER = {
    'bgr8': 'bgr',
    'rgb8': 'rgb',
    'bgra8': 'bgra',
    'rgba8': 'rgba',
    '8UC3': 'bgr',
    '8UC4': 'bgra',
}
VALUES = {'r': 200, 'g': 100, 'b': 50, 'a': 7}
# Colours of the 2x2 tile, row by row.
BAYER = {
    'bayer_rggb8': ('rg', 'gb'),
    'bayer_bggr8': ('bg', 'gr'),
    'bayer_gbrg8': ('gb', 'rg'),
    'bayer_grbg8': ('gr', 'bg'),
}
YUV422 = {'yuv422': 'uyvy', 'uyvy': 'uyvy', 'yuv422_yuy2': 'yuyv', 'yuyv': 'yuyv'}
YUV = {'y': 81, 'u': 90, 'v': 240}
RED = (255, 0, 0)
"""RGB of `YUV` in BT.601, range 16 to 235."""


def coloured(encoding: str) -> np.ndarray:
    pixel = [VALUES[letter] for letter in ORDER[encoding]]
    return np.tile(np.array(pixel, np.uint8), (4, 6, 1))


def test_every_encoding_is_covered_here() -> None:
    assert {*ORDER, 'mono8', '8UC1', *BAYER, *YUV422} == set(ENCODINGS)


@pytest.mark.parametrize('encoding', ORDER)
def test_channels_are_reordered_to_rgb_and_bgr(encoding: str) -> None:
    assert (to_rgb(coloured(encoding), encoding) == (200, 100, 50)).all()
    assert (to_bgr(coloured(encoding), encoding) == (50, 100, 200)).all()


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
@pytest.mark.parametrize('convert', [to_rgb, to_bgr])
def test_grey_fills_three_channels(encoding: str, convert: Any) -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert (convert(grey, encoding) == grey[:, :, None]).all()
    assert convert(grey, encoding).shape == (4, 6, 3)


@pytest.mark.parametrize('encoding', BAYER)
def test_bayer_patterns_are_demosaiced(encoding: str) -> None:
    tile = np.array([[VALUES[letter] for letter in row] for row in BAYER[encoding]], np.uint8)
    frame = np.tile(tile, (4, 5))
    assert (to_rgb(frame, encoding) == (200, 100, 50)).all()
    assert (to_bgr(frame, encoding) == (50, 100, 200)).all()


@pytest.mark.parametrize('encoding', YUV422)
def test_yuv422_is_converted_to_rgb_and_bgr(encoding: str) -> None:
    pair = np.array([YUV[letter] for letter in YUV422[encoding]], np.uint8)
    frame = np.tile(pair, (4, 3)).reshape(4, 6, 2)
    assert np.abs(to_rgb(frame, encoding).astype(int) - RED).max() <= 2
    assert np.abs(to_bgr(frame, encoding).astype(int) - RED[::-1]).max() <= 2


@pytest.mark.parametrize(('encoding', 'order'), [('nv12', 'uv'), ('nv21', 'vu')])
def test_nv12_and_nv21_are_converted_to_rgb(encoding: str, order: str) -> None:
    planes = np.full((6, 8), YUV['y'], np.uint8)
    planes[4:] = np.tile([YUV[letter] for letter in order], (2, 4))
    rgb = planes_to_rgb(planes, encoding)
    assert rgb.shape == (4, 8, 3)
    assert np.abs(rgb.astype(int) - RED).max() <= 2


@pytest.mark.parametrize('encoding', [*BAYER, *YUV422])
@pytest.mark.parametrize('size', [(48, 64), (31, 42), (6, 8), (1, 2)])
def test_converted_part_equals_part_of_the_converted_frame(
    encoding: str, size: tuple[int, int]
) -> None:
    rng = np.random.default_rng(3)
    channels = ENCODINGS[encoding].channels
    frame = rng.integers(0, 256, size if channels == 1 else (*size, channels), np.uint8)
    whole = to_rgb(frame, encoding)
    assert part_encoding(encoding) == 'rgb8'
    for _ in range(50):
        top, bottom = sorted(rng.choice(size[0] + 1, 2, replace=False))
        left, right = sorted(rng.choice(size[1] + 1, 2, replace=False))
        found = part(frame, encoding, top, bottom, left, right)
        assert np.array_equal(found, whole[top:bottom, left:right])


def test_part_that_needs_no_conversion_is_a_view() -> None:
    image = coloured('bgra8')
    assert np.shares_memory(part(image, 'bgra8', 1, 3, 2, 5), image)
    assert part(image, 'bgra8', 1, 3, 2, 5).shape == (2, 3, 4)
    assert part_encoding('bgra8') == 'bgra8'


@pytest.mark.parametrize(
    ('bits', 'values', 'expected'),
    [
        (16, [0, 256, 0x8000, 0xFF00, 0xFFFF], [0, 1, 128, 255, 255]),
        (12, [0, 16, 0x800, 0xFF0, 0xFFF, 0x1000], [0, 1, 128, 255, 255, 255]),
        (8, [0, 1, 255, 300], [0, 1, 255, 255]),
    ],
)
def test_deep_grey_is_scaled_to_8_bits(bits: int, values: list[int], expected: list[int]) -> None:
    assert deep_to_grey(np.array([values], np.uint16), bits).tolist() == [expected]


def test_an_image_already_in_order_is_not_copied() -> None:
    image = coloured('rgb8')
    assert to_rgb(image, 'rgb8') is image
    assert to_bgr(image, 'bgr8') is image


@pytest.mark.parametrize('encoding', [*ORDER, 'mono8', '8UC1'])
def test_a_fitting_frame_is_passed_on_without_a_copy(encoding: str) -> None:
    channels = encoding_named(encoding).channels
    frame = np.zeros((4, 6, channels), np.uint8)
    checked = checked_frame(frame, encoding)
    assert np.shares_memory(checked, frame)
    assert checked.shape == ((4, 6) if channels == 1 else (4, 6, channels))


def test_a_grey_frame_may_come_without_a_channel_axis() -> None:
    frame = np.zeros((4, 6), np.uint8)
    assert checked_frame(frame, 'mono8') is frame


@pytest.mark.parametrize('encoding', ['nv12', 'mono16', '', 'BGR8', '32FC1'])
def test_an_unknown_encoding_is_refused_and_the_known_ones_are_listed(encoding: str) -> None:
    with pytest.raises(ValueError) as error:
        checked_frame(np.zeros((4, 6, 3), np.uint8), encoding)
    assert f"encoding '{encoding}' is not supported" in str(error.value)
    assert 'bgr8, rgb8' in str(error.value)


def test_a_long_encoding_name_is_shortened_in_the_error() -> None:
    with pytest.raises(ValueError, match='is not supported') as error:
        encoding_named('x' * 100_000)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ('encoding', 'remedy'),
    [
        ('32FC1', 'holds distances or measurements; track in the camera'),
        ('16UC1', 'publish the values as a mono8 or mono16 picture'),
        ('bayer_rggb16', 'set the camera driver to 8 bits'),
    ],
)
def test_unsupported_encoding_error_names_a_remedy(encoding: str, remedy: str) -> None:
    with pytest.raises(ValueError) as error:
        encoding_named(encoding, also=('mono16',))
    assert remedy in str(error.value)
    assert 'mono16' in str(error.value).split('supported are')[1]


@pytest.mark.parametrize(
    ('frame', 'encoding', 'reason'),
    [
        (np.zeros((4, 5, 2), np.uint8), 'yuv422', 'a yuv422 frame has an even width, got 5'),
        (np.zeros((4, 6), np.uint8), 'yuyv', 'shape (H, W, 2), got (4, 6)'),
        (np.zeros((4, 6, 3), np.uint8), 'bayer_rggb8', 'shape (H, W), got (4, 6, 3)'),
        (np.zeros((4, 6), np.uint8), 'bgr8', 'shape (H, W, 3), got (4, 6)'),
        (np.zeros((4, 6, 4), np.uint8), 'bgr8', 'shape (H, W, 3), got (4, 6, 4)'),
        (np.zeros((4, 6, 3), np.uint8), 'bgra8', 'shape (H, W, 4), got (4, 6, 3)'),
        (np.zeros((4, 6, 3), np.uint8), 'mono8', 'shape (H, W), got (4, 6, 3)'),
        (np.zeros((1, 4, 6, 3), np.uint8), 'rgb8', 'got (1, 4, 6, 3)'),
        (np.zeros((0, 6, 3), np.uint8), 'rgb8', 'got (0, 6, 3)'),
        (np.zeros((4, 0), np.uint8), 'mono8', 'got (4, 0)'),
        (np.zeros((4, 6, 3), np.float32), 'bgr8', 'uint8, got float32'),
        (np.zeros((4, 6, 3), np.int8), 'bgr8', 'uint8, got int8'),
        ([[1, 2], [3, 4]], 'mono8', 'uint8, got list'),
        (None, 'bgr8', 'uint8, got NoneType'),
    ],
)
def test_invalid_frame_is_refused_with_its_shape_or_type(
    frame: Any, encoding: str, reason: str
) -> None:
    with pytest.raises(ValueError) as error:
        checked_frame(frame, encoding)
    assert reason in str(error.value)
