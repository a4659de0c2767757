# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from hcat_ros.select_page.pictures import picture_of
from hcat_ros.select_page.view import View


def test_wide_image_is_scaled_and_reports_its_full_size(picture: Callable[..., np.ndarray]) -> None:
    pixels = picture(480, 640)
    made = picture_of(View(0, lambda: (pixels, 'bgr8')), 160, 90)
    assert (made.width, made.height) == (640, 480)
    assert cv2.imdecode(np.frombuffer(made.jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (120, 160, 3)


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'bgra8', 'rgba8', 'mono8'])
def test_colours_are_right_in_every_encoding(encoding: str) -> None:
    colour = {'b': 200, 'g': 120, 'r': 40, 'a': 255}
    wanted = (120,) * 3 if encoding == 'mono8' else (200, 120, 40)
    values = [120] if encoding == 'mono8' else [colour[letter] for letter in encoding[:-1]]
    pixels = np.full((64, 96, len(values)), values, np.uint8)
    pixels = pixels[:, :, 0] if encoding == 'mono8' else pixels
    for width in (96, 48):
        made = picture_of(View(0, lambda: (pixels, encoding)), width, 95)
        shown = cv2.imdecode(np.frombuffer(made.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert shown.shape[1] == width
        assert np.abs(shown[10, 10].astype(int) - wanted).max() <= 4


def test_lower_quality_gives_a_smaller_jpeg(picture: Callable[..., np.ndarray]) -> None:
    view = View(0, lambda: (picture(240, 320), 'bgr8'))
    assert len(picture_of(view, 320, 30).jpeg) < len(picture_of(view, 320, 90).jpeg) / 1.5


def test_padded_rows_and_read_only_pixels_are_encoded(picture: Callable[..., np.ndarray]) -> None:
    pixels = picture(240, 400)[:, :320]
    pixels.flags.writeable = False
    whole = np.ascontiguousarray(pixels)
    for width in (320, 200):
        assert (
            picture_of(View(0, lambda: (pixels, 'bgr8')), width, 80).jpeg
            == picture_of(View(0, lambda: (whole, 'bgr8')), width, 80).jpeg
        )


def test_picture_too_wide_for_jpeg_is_refused() -> None:
    with pytest.raises(ValueError, match='cannot encode'):
        picture_of(View(0, lambda: (np.zeros((2, 70000, 3), np.uint8), 'bgr8')), 100_000, 80)


def test_bayer_image_is_converted_before_it_is_scaled() -> None:
    # An image of one colour as a Bayer mosaic: red, green, green, blue.
    pixels = np.tile(np.array([[40, 120], [120, 200]], np.uint8), (32, 48))
    made = picture_of(View(0, lambda: (pixels, 'bayer_rggb8')), 48, 95)
    shown = cv2.imdecode(np.frombuffer(made.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (32, 48, 3)
    assert np.abs(shown[16, 24].astype(int) - (200, 120, 40)).max() <= 4
