# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import re

import cv2
import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel
from hcat_ros.simulation.camera import Pinhole

K = (610.0, 0.0, 322.5, 0.0, 605.0, 238.25, 0.0, 0.0, 1.0)
BARREL = (-0.32, 0.11, 0.0007, -0.0012, -0.015)
RATIONAL = (0.6, -0.9, 0.0004, -0.0003, 0.1, 0.95, -0.8, -0.02)
FISHEYE = (0.05, -0.012, 0.004, -0.001)
LENSES = {
    'none': ('plumb_bob', ()),
    'plumb_bob': ('plumb_bob', BARREL),
    'rational_polynomial': ('rational_polynomial', RATIONAL),
    'equidistant': ('equidistant', FISHEYE),
}
CORNERS = [(u, v) for u in (0.0, 150.0, 322.5, 639.0) for v in (0.0, 100.0, 238.25, 479.0)]


def camera(lens: str, pitch: float = 0.0) -> CameraModel:
    model, d = LENSES[lens]
    return CameraModel.from_info(640, 480, K, d, model, pitch)


def opencv_pixel(lens: str, azimuth: float, elevation: float) -> tuple[float, float]:
    """Where OpenCV projects a point 7 m away in the direction of a bearing."""
    forward = math.cos(elevation) * math.cos(azimuth)
    left = math.cos(elevation) * math.sin(azimuth)
    point = 7 * np.array([[[-left, -math.sin(elevation), forward]]])
    matrix = np.array(K).reshape(3, 3)
    none = np.zeros(3)
    model, d = LENSES[lens]
    if model == 'equidistant':
        seen, _ = cv2.fisheye.projectPoints(point, none, none, matrix, np.array(d))
    else:
        seen, _ = cv2.projectPoints(point, none, none, matrix, np.array(d or [0.0] * 4))
    # OpenCV's integers are pixel centres; here the centre of the first pixel is at 0.5.
    return tuple((seen.reshape(2) + 0.5).tolist())


@pytest.mark.parametrize('lens', LENSES)
@pytest.mark.parametrize('azimuth', [-0.4, 0.0, 0.3])
@pytest.mark.parametrize('elevation', [-0.3, 0.0, 0.25])
def test_bearings_and_pixels_match_opencvs_projection(
    lens: str, azimuth: float, elevation: float
) -> None:
    u, v = opencv_pixel(lens, azimuth, elevation)
    assert camera(lens).bearing(u, v) == pytest.approx((azimuth, elevation), abs=1e-6)
    assert camera(lens).pixel(azimuth, elevation) == pytest.approx((u, v), abs=1e-6)


@pytest.mark.parametrize('lens', LENSES)
@pytest.mark.parametrize('pitch', [0.0, 0.5])
def test_pixel_to_bearing_and_back_gives_the_same_pixel(lens: str, pitch: float) -> None:
    looking = camera(lens, pitch)
    for pixel in CORNERS:
        assert looking.pixel(*looking.bearing(*pixel)) == pytest.approx(pixel, abs=0.05), pixel


def test_left_and_up_are_positive() -> None:
    seen = CameraModel.from_fov(640, 480, math.pi / 2)
    azimuth, elevation = seen.bearing(0, 240)
    assert (azimuth, elevation) == pytest.approx((math.pi / 4, 0.0))
    assert seen.bearing(640, 240).azimuth == pytest.approx(-math.pi / 4)
    assert seen.bearing(320, 0).elevation > 0 > seen.bearing(320, 480).elevation
    assert seen.bearing(320, 240) == pytest.approx((0.0, 0.0))


def test_a_camera_that_looks_down_sees_its_centre_below() -> None:
    down = CameraModel.from_fov(640, 480, 1.0, pitch=0.4)
    assert down.bearing(320, 240) == pytest.approx((0.0, -0.4))
    # Rotation about y by hand: ray (1, 1, 0)/sqrt 2 to the left, seen at 45 degrees.
    ray = np.array([math.cos(0.4), 1.0, -math.sin(0.4)])
    u = 320 - down.fx
    assert down.bearing(u, 240) == pytest.approx(
        (math.atan2(ray[1], ray[0]), math.atan2(ray[2], math.hypot(ray[0], ray[1])))
    )


def test_a_fisheye_lens_sees_beyond_90_degrees() -> None:
    wide = CameraModel(1000, 1000, 250, 250, 500, 500, FISHEYE, 'equidistant')
    azimuth = math.radians(100)
    u, v = wide.pixel(azimuth, 0.0)
    assert 0 < u < 100
    assert wide.bearing(u, v) == pytest.approx((azimuth, 0.0), abs=1e-9)


@pytest.mark.parametrize('box', [Box(290, 200, 60, 80), Box(5, 5, 60, 80)])
def test_a_box_spans_the_angle_between_its_sides(box: Box) -> None:
    seen = CameraModel.from_fov(640, 480, 1.2)
    rays = [
        np.array([u - 320, v - 240, seen.fx])
        for u, v in [
            (box.x, box.cy),
            (box.x + box.w, box.cy),
            (box.cx, box.y),
            (box.cx, box.y + box.h),
        ]
    ]
    units = [ray / np.linalg.norm(ray) for ray in rays]
    expected = math.acos(units[0] @ units[1]), math.acos(units[2] @ units[3])
    assert seen.angular_size(box) == pytest.approx(expected)


def test_pixels_and_bearings_without_a_valid_projection_are_nan() -> None:
    strong = CameraModel(640, 480, 300, 300, 320, 240, (-0.6, 0.0, 0.0, 0.0))
    # r (1 - 0.6 r^2) ends at r = 0.745 with 0.497, 149 pixels from the centre.
    assert math.isfinite(strong.bearing(320 + 140, 240).azimuth)
    assert math.isnan(strong.bearing(320 + 155, 240).azimuth)
    assert math.isnan(CameraModel.from_fov(640, 480, 1.0).bearing(math.nan, 3).azimuth)
    assert math.isnan(CameraModel.from_fov(640, 480, 1.0).pixel(3.0, 0)[0]), 'behind'


def test_eight_coefficients_named_plumb_bob_are_the_rational_model() -> None:
    """OpenCV projects both alike; some drivers publish the wrong name."""
    eight = (-0.3, 0.1, 0.001, -0.002, 0.02, 0.05, -0.01, 0.003)
    named = CameraModel.from_info(640, 480, K, eight, 'plumb_bob')
    assert named == CameraModel.from_info(640, 480, K, eight, 'rational_polynomial')
    point = np.array([[[100.0, 80.0]]])
    x, _ = cv2.undistortPoints(point, np.array(K).reshape(3, 3), np.array(eight)).ravel()
    assert math.tan(named.bearing(100.5, 80.5).azimuth) == pytest.approx(-x, abs=2e-3)


def test_the_model_none_has_no_distortion() -> None:
    assert CameraModel.from_info(640, 480, K, (), 'none').distortion == ()
    with pytest.raises(ValueError, match="distortion model 'none'"):
        CameraModel.from_info(640, 480, K, (0.1, 0, 0, 0, 0), 'none')


def test_zero_coefficients_mean_no_distortion() -> None:
    assert CameraModel.from_info(640, 480, K, [0.0] * 5, '').distortion == ()
    assert CameraModel.from_info(640, 480, np.array(K).reshape(3, 3), [], '').model == 'plumb_bob'


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'k': (0.0,) * 9}, 'fx 0: expected 0.64 to 640000 for images of 640x480; is the camera'),
        ({'k': (1e-300, 0, 320, 0, 1e-300, 240, 0, 0, 1)}, 'fx 1e-300: expected 0.64 to'),
        ({'k': (500, 0, 320, 0, 1e300, 240, 0, 0, 1)}, 'fy 1e+300: expected 0.64 to'),
        ({'k': (math.nan,) * 9}, 'fx nan'),
        ({'k': (1.0,) * 8}, 'camera matrix of 8 numbers'),
        ({'width': 0}, 'image size 0x480'),
        ({'d': (0.1, 0.2)}, '2 distortion coefficients: plumb_bob has 5'),
        ({'d': (math.nan, 0, 0, 0, 0)}, 'distortion'),
        ({'d': (0.1,) * 4, 'distortion_model': 'thin_prism'}, "'thin_prism'"),
        ({'pitch': 2.0}, 'pitch 2.0'),
    ],
)
def test_invalid_camera_info_is_refused_with_the_reason(
    change: dict[str, object], words: str
) -> None:
    fields = {'width': 640, 'height': 480, 'k': K, 'd': BARREL, 'distortion_model': 'plumb_bob'}
    with pytest.raises(ValueError, match=re.escape(words)):
        CameraModel.from_info(**{**fields, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize('fov', [0.0, 3.2, math.nan])
def test_a_field_of_view_outside_its_range_is_refused(fov: float) -> None:
    with pytest.raises(ValueError, match='horizontal_fov'):
        CameraModel.from_fov(640, 480, fov)


def test_the_simulations_camera_info_matches_its_field_of_view() -> None:
    lens = Pinhole(640, 480, 1.2)
    assert CameraModel.from_info(640, 480, lens.matrix) == CameraModel.from_fov(640, 480, 1.2)
