# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of MAVLink's image coordinates, which are 0 to 1 across and down."""

from __future__ import annotations

import math

import pytest

from hcat_ros.boxes import Box
from hcat_ros.mavlink.requests import (
    ImageSize,
    box_of_point,
    box_of_rectangle,
    rectangle_of_box,
)

SIZE = ImageSize(640, 480)


def test_rectangle_is_converted_to_a_pixel_box() -> None:
    assert box_of_rectangle((0.25, 0.5, 0.5, 0.75), SIZE) == Box(160, 240, 160, 120)
    # Corners in any order, and beyond the border.
    assert box_of_rectangle((0.5, 0.75, 0.25, 0.5), SIZE) == Box(160, 240, 160, 120)
    assert box_of_rectangle((-0.2, 0.5, 0.25, 1.5), SIZE) == Box(0, 240, 160, 240)


@pytest.mark.parametrize(
    'corners',
    [(0.2, 0.2, 0.2, 0.5), (1.1, 0.2, 1.5, 0.5), (math.nan, 0, 1, 1), (0, 0, math.inf, 1)],
)
def test_invalid_rectangle_is_refused(corners: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r'rectangle .*: '):
        box_of_rectangle(corners, SIZE)


@pytest.mark.parametrize('radius', [0.0, math.nan, -1.0])
def test_point_selects_the_smallest_detection_that_contains_it(radius: float) -> None:
    person, bag, car = Box(300, 200, 60, 150), Box(310, 230, 30, 30), Box(0, 0, 100, 80)
    x, y = 320 / 640, 240 / 480
    assert box_of_point((x, y), radius, SIZE, (person, bag, car), 0.1) == bag
    assert box_of_point((x, 300 / 480), radius, SIZE, (person, bag, car), 0.1) == person
    # No detection there: a square of a tenth of the height around the point.
    assert box_of_point((0.9, 0.9), radius, SIZE, (person, car), 0.1) == Box(552, 408, 48, 48)


def test_radius_is_a_share_of_the_image_width() -> None:
    assert box_of_point((0.5, 0.5), 0.05, SIZE, (Box(0, 0, 640, 480),), 0.1) == Box(
        320 - 32, 240 - 32, 64, 64
    )


@pytest.mark.parametrize('point', [(-0.1, 0.5), (0.5, 1.1), (math.nan, 0.5)])
def test_invalid_point_is_refused(point: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r'point .*: expected numbers from 0 to 1'):
        box_of_point(point, 0.0, SIZE, (), 0.1)


def test_box_is_converted_to_a_rectangle_within_the_image() -> None:
    assert rectangle_of_box(Box(160, 240, 160, 120), SIZE) == (0.25, 0.5, 0.5, 0.75)
    assert rectangle_of_box(Box(-50, 400, 100, 200), SIZE) == (0, 400 / 480, 50 / 640, 1)
