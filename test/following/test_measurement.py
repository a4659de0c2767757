# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel, bearing_of

CAMERA = CameraModel.from_fov(640, 480, 1.2)


def test_the_deviation_is_a_share_of_the_box_side_plus_one_pixel() -> None:
    seen = bearing_of(Box(300, 230, 40, 20), CAMERA, 0.8, 12.5, 'a', centre_noise=0.1)
    assert (seen.stamp, seen.score, seen.target) == (12.5, 0.8, 'a')
    assert (seen.azimuth, seen.elevation) == pytest.approx((0.0, 0.0))
    pixel = 1 / CAMERA.fx
    expected = [(0.1 * seen.width_rad + pixel) ** 2, (0.1 * seen.height_rad + pixel) ** 2]
    assert np.diag(seen.covariance) == pytest.approx(expected)
    assert seen.is_sound()


@pytest.mark.parametrize(
    ('box', 'clipped'),
    [
        (Box(10, 10, 50, 50), (False, False)),
        (Box(0, 10, 50, 50), (True, False)),
        (Box(600, 100, 40, 50), (True, False)),
        (Box(100, -20, 50, 200), (False, True)),
        (Box(500, 300, 200, 200), (True, True)),
    ],
)
def test_a_box_at_the_image_border_counts_as_clipped(box: Box, clipped: tuple[bool, bool]) -> None:
    seen = bearing_of(box, CAMERA, 0.8, 0.0)
    assert (seen.width_clipped, seen.height_clipped) == clipped


@pytest.mark.parametrize(
    'change',
    [
        {'azimuth': math.nan},
        {'elevation': math.inf},
        {'stamp': math.nan},
        {'score': math.nan},
        {'width_rad': 0.0},
        {'height_rad': -0.1},
        {'azimuth': 4.0},
        {'covariance': np.zeros((2, 2))},
        {'covariance': np.full((2, 2), math.nan)},
        {'covariance': np.full((2, 2), 1e-4)},
        {'covariance': np.eye(2) * 1e300},
        {'covariance': np.array([[1e-4, 1e-5], [0.0, 1e-4]])},
        {'covariance': np.eye(3)},
    ],
)
def test_impossible_measurements_are_not_sound(change: dict[str, object]) -> None:
    seen = bearing_of(Box(300, 230, 40, 20), CAMERA, 0.8, 0.0)
    assert not replace(seen, **change).is_sound()  # type: ignore[arg-type]


def test_non_finite_or_empty_boxes_give_unsound_measurements() -> None:
    for box in (Box(math.nan, 0, 10, 10), Box(0, 0, math.inf, 10), Box(10, 10, 0, 0)):
        assert not bearing_of(box, CAMERA, 0.8, 0.0).is_sound()
