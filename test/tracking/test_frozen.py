# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hcat_ros.tracking.frozen import FrozenImages

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (48, 64, 3), np.uint8)


def pixel_changed(row: int, column: int) -> np.ndarray:
    other = PICTURE.copy()
    other[row, column, 1] ^= 1
    return other


def test_frozen_time_counts_from_the_first_of_equal_images() -> None:
    frozen = FrozenImages()
    assert [frozen.seconds(PICTURE.copy(), n / 10) for n in range(5)] == pytest.approx(
        [0, 0, 0.2, 0.3, 0.4]
    ), 'a video made faster shows pictures twice'


@pytest.mark.parametrize(('row', 'column'), [(0, 0), (1, 5), (47, 63), (31, 9)])
def test_one_changed_bit_makes_a_new_image(row: int, column: int) -> None:
    frozen = FrozenImages()
    images = [PICTURE, PICTURE, PICTURE, pixel_changed(row, column), PICTURE, PICTURE]
    found = [frozen.seconds(image, number) for number, image in enumerate(images)]
    assert found == [0, 0, 2, 0, 0, 0]


def test_other_image_size_makes_a_new_image() -> None:
    frozen = FrozenImages()
    zeros = [np.zeros(shape, np.uint8) for shape in ((8, 8), (8, 8, 3), (16, 8), (8, 8))]
    assert [frozen.seconds(image, number) for number, image in enumerate(zeros)] == [0] * 4


def test_row_padding_is_ignored() -> None:
    padded = np.zeros((48, 80, 3), np.uint8)
    padded[:, :64] = PICTURE
    frozen = FrozenImages()
    for number in range(3):
        padded[:, 64:] = number
        found = frozen.seconds(padded[:, :64], number) if number else frozen.seconds(PICTURE, 0)
    assert found == 2
