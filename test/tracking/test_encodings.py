# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hcat_ros.tracking.encodings import (
    ENCODINGS,
    checked_frame,
    encoding_named,
    to_bgr,
    to_rgb,
)

# Where red, green and blue stand in a pixel of each encoding.
ORDER = {
    'bgr8': 'bgr',
    'rgb8': 'rgb',
    'bgra8': 'bgra',
    'rgba8': 'rgba',
    '8UC3': 'bgr',
    '8UC4': 'bgra',
}
VALUES = {'r': 200, 'g': 100, 'b': 50, 'a': 7}


def coloured(encoding: str) -> np.ndarray:
    pixel = [VALUES[letter] for letter in ORDER[encoding]]
    return np.tile(np.array(pixel, np.uint8), (4, 6, 1))


def test_every_encoding_is_covered_here() -> None:
    assert {*ORDER, 'mono8', '8UC1'} == set(ENCODINGS)


@pytest.mark.parametrize('encoding', ORDER)
def test_colours_arrive_in_the_order_asked_for(encoding: str) -> None:
    assert (to_rgb(coloured(encoding), encoding) == (200, 100, 50)).all()
    assert (to_bgr(coloured(encoding), encoding) == (50, 100, 200)).all()


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
@pytest.mark.parametrize('convert', [to_rgb, to_bgr])
def test_grey_fills_three_channels(encoding: str, convert: Any) -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    assert (convert(grey, encoding) == grey[:, :, None]).all()
    assert convert(grey, encoding).shape == (4, 6, 3)


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


@pytest.mark.parametrize('encoding', ['yuv422', 'mono16', '', 'BGR8', '32FC1'])
def test_an_unknown_encoding_is_refused_and_the_known_ones_are_listed(encoding: str) -> None:
    with pytest.raises(ValueError) as error:
        checked_frame(np.zeros((4, 6, 3), np.uint8), encoding)
    assert f"encoding '{encoding}' is not supported" in str(error.value)
    assert 'bgr8, rgb8' in str(error.value)


@pytest.mark.parametrize(
    ('frame', 'encoding', 'reason'),
    [
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
def test_what_is_no_frame_is_refused_with_what_was_found(
    frame: Any, encoding: str, reason: str
) -> None:
    with pytest.raises(ValueError) as error:
        checked_frame(frame, encoding)
    assert reason in str(error.value)
