# SPDX-License-Identifier: Apache-2.0
"""Cameras as drivers describe them."""

from __future__ import annotations

import math

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from follow_talker import FOCAL, camera_info

from hcat_ros.boxes import Box
from hcat_ros.nodes.follow_camera import CameraSource, camera_of

NO_FOV = {
    'horizontal_fov': 0.0,
    'image_width': 0,
    'image_height': 0,
    'camera_pitch': 0.0,
    'rectified': False,
}


def test_k_and_d_or_p() -> None:
    info = camera_info((-0.3, 0.1, 0.0, 0.0, 0.0))
    info.p[0] = info.p[5] = 400.0
    raw, rectified = camera_of(info, False, 0.0), camera_of(info, True, 0.1)
    assert (raw.fx, raw.distortion, raw.pitch) == (FOCAL, (-0.3, 0.1, 0.0, 0.0, 0.0), 0.0)
    assert (rectified.fx, rectified.distortion, rectified.pitch) == (400.0, (), 0.1)


def test_binning_and_a_region_of_interest_see_the_same_world() -> None:
    info = camera_info()
    whole = camera_of(info, False, 0.0)
    info.binning_x = info.binning_y = 2
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 100, 40, 400, 300
    part = camera_of(info, False, 0.0)
    assert (part.width, part.height) == (200, 150)
    for u, v in ((0, 0), (120, 30), (199, 149)):
        assert part.bearing(u, v) == pytest.approx(whole.bearing(2 * u + 100, 2 * v + 40))


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'k': [0.0] * 9}, 'k is all zeros: the camera is not calibrated'),
        ({'k': [math.nan] * 9}, 'fx nan'),
        ({'width': 0}, 'image size 0x480'),
        ({'d': [0.1, 0.2, 0.3]}, '3 distortion coefficients'),
        ({'d': [0.1] * 4, 'distortion_model': 'fov'}, "distortion model 'fov'"),
        ({'d': [math.inf] * 5}, 'inf'),
    ],
)
def test_a_camera_that_cannot_be_is_refused_once(changes: dict[str, object], reason: str) -> None:
    info = camera_info()
    for name, value in changes.items():
        setattr(info, name, value)
    source = CameraSource(NO_FOV)
    with pytest.raises(ValueError, match=reason):
        source.take(info)
    source.take(info)
    assert source.camera is None
    source.take(camera_info())
    assert source.camera is not None


def test_camera_info_wins_over_the_field_of_view() -> None:
    given = {'horizontal_fov': 1.0, 'image_width': 320, 'image_height': 240}
    source = CameraSource(NO_FOV | given)
    assert source.camera is not None
    assert source.camera.width == 320
    source.take(camera_info())
    assert source.camera.width == 640


def test_boxes_that_cannot_be_of_these_images() -> None:
    source = CameraSource(NO_FOV)
    assert source.refusal(Box(0, 0, 10, 10)) == 'the camera is not known'
    source.take(camera_info())
    assert source.refusal(Box(-20, -20, 60, 60)) == ''
    assert 'outside of the 640x480' in source.refusal(Box(900, 0, 10, 10))
    assert source.refusal(Box(10, 10, -5, 10)) == 'it has no size'
