# SPDX-License-Identifier: Apache-2.0
"""Camera models from camera_info and from horizontal_fov."""

from __future__ import annotations

import math

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from follow_talker import FOCAL, camera_info
from sensor_msgs.msg import CameraInfo

from hcat_ros.boxes import Box
from hcat_ros.nodes.follower.camera import CameraSource, camera_of
from hcat_ros.tracking.stream import CameraView

NO_FOV = {
    'horizontal_fov': 0.0,
    'image_width': 0,
    'image_height': 0,
    'camera_pitch': 0.0,
    'rectified': False,
}


def test_raw_images_use_k_and_d_and_rectified_images_use_p() -> None:
    info = camera_info((-0.3, 0.1, 0.0, 0.0, 0.0))
    info.p[0] = info.p[5] = 400.0
    raw, rectified = camera_of(info, False, 0.0), camera_of(info, True, 0.1)
    assert (raw.fx, raw.distortion, raw.pitch) == (FOCAL, (-0.3, 0.1, 0.0, 0.0, 0.0), 0.0)
    assert (rectified.fx, rectified.distortion, rectified.pitch) == (400.0, (), 0.1)


def test_binning_and_region_of_interest_give_the_same_bearings() -> None:
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
def test_invalid_camera_info_is_refused_once(changes: dict[str, object], reason: str) -> None:
    info = camera_info()
    for name, value in changes.items():
        setattr(info, name, value)
    source = CameraSource(NO_FOV)
    with pytest.raises(ValueError, match=reason):
        source.take(info, 0.0)
    source.take(info, 0.0)
    assert source.camera is None
    source.take(camera_info(), 0.1)
    assert source.camera is not None


def test_camera_info_overrides_horizontal_fov() -> None:
    given = {'horizontal_fov': 1.0, 'image_width': 320, 'image_height': 240}
    source = CameraSource(NO_FOV | given)
    assert source.camera is not None
    assert source.camera.width == 320
    source.take(camera_info(), 0.0)
    assert source.camera.width == 640


def test_camera_pitch_is_fixed_at_startup_while_fov_changes_live() -> None:
    given = NO_FOV | {'horizontal_fov': 1.0, 'image_width': 320, 'image_height': 240}
    source = CameraSource(given | {'camera_pitch': 0.2})
    source.configure(given | {'camera_pitch': 0.5, 'horizontal_fov': 1.1})
    assert source.camera is not None
    assert source.camera.pitch == 0.2
    assert source.camera.fx == pytest.approx(160 / math.tan(0.55)), 'which is live'
    source.take(camera_info(), 0.0)
    assert source.camera.pitch == 0.2


def test_boxes_outside_of_the_image_or_without_size_are_refused() -> None:
    source = CameraSource(NO_FOV)
    assert source.refusal(Box(0, 0, 10, 10)) == 'no camera_info yet, and horizontal_fov is 0'
    source.take(camera_info(), 0.0)
    assert source.refusal(Box(-20, -20, 60, 60)) == ''
    assert 'outside of the 640x480' in source.refusal(Box(900, 0, 10, 10))
    assert source.refusal(Box(10, 10, -5, 10)) == 'it has no size'


def info_of(width: int, height: int, frame_id: str = '', focal: float = 0.0) -> CameraInfo:
    info = CameraInfo(width=width, height=height)
    info.header.frame_id = frame_id
    focal = focal or float(width)
    info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    info.p = [*info.k[:3], 0.0, *info.k[3:6], 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


def test_camera_model_scales_to_images_of_half_the_size() -> None:
    source = CameraSource(NO_FOV)
    source.take(info_of(1280, 720), 0.0)
    assert source.camera is not None
    whole = source.camera
    source.take_view(CameraView(640, 360, 'front'))
    assert (source.camera.width, source.camera.height) == (640, 360)
    for u, v in ((0, 0), (900, 100), (1280, 720)):
        assert source.camera.bearing(u / 2, v / 2) == pytest.approx(whole.bearing(u, v))
    assert source.doubts == ['images are 640x360, camera_info says 1280x720: scaled to the images']
    source.take_view(CameraView(1280, 720, 'front'))
    assert source.camera == whole
    assert source.doubts == []


def test_images_of_another_aspect_ratio_are_refused() -> None:
    source = CameraSource(NO_FOV)
    source.take(info_of(1280, 720), 0.0)
    source.take_view(CameraView(640, 480, 'front'))
    assert source.camera is None
    assert source.refusal(Box(0, 0, 10, 10)) == 'images are 640x480, camera_info says 1280x720'
    fov = CameraSource(NO_FOV | {'horizontal_fov': 1.0, 'image_width': 640, 'image_height': 360})
    fov.take_view(CameraView(640, 480, 'front'))
    assert fov.problem == 'images are 640x480, image_width and image_height say 640x360'


@pytest.mark.parametrize(('width', 'height'), [(0, 0), (640, 0), (0, 480)])
def test_a_view_without_width_or_height_is_refused(width: int, height: int) -> None:
    source = CameraSource(NO_FOV)
    source.take(info_of(1280, 960), 0.0)
    source.take_view(CameraView(640, 480, 'front'))
    before = source.camera
    with pytest.raises(ValueError, match=f'its images are {width}x{height}: expected a width and'):
        source.take_view(CameraView(width, height, 'front'))
    source.clear_alternation(1.0)
    assert source.camera == before is not None


@pytest.mark.parametrize('binning', [0, 2])
def test_camera_matrix_of_a_smaller_image_is_refused(binning: int) -> None:
    info = info_of(1280, 720)
    info.k[2], info.k[5] = 320.0, 180.0
    info.binning_x = info.binning_y = binning
    source = CameraSource(NO_FOV)
    with pytest.raises(ValueError, match=r'principal point of k \(320, 180\) is far off'):
        source.take(info, 0.0)
    assert source.problem.startswith('camera_info refused: the principal point')


def test_unusual_principal_point_and_other_frame_are_reported() -> None:
    info = info_of(640, 480, 'rear')
    info.k[2] = 400.0  # 12.5 % off
    source = CameraSource(NO_FOV)
    source.take(info, 0.0)
    source.take_view(CameraView(640, 480, 'front'))
    assert source.camera is not None
    assert source.doubts[0] == "camera_info has frame 'rear', but the images have frame 'front'"
    assert 'off the middle by 12 %' in source.doubts[1]


@pytest.mark.parametrize('other', [info_of(1280, 960), info_of(640, 480, focal=900.0)])
def test_no_camera_is_used_while_two_alternate(other: CameraInfo) -> None:
    source = CameraSource(NO_FOV)
    first = info_of(640, 480)
    for number in range(10):
        source.take(other if number % 2 else first, number / 10)
    assert source.camera is None
    assert source.problem.startswith('camera_info alternates between ')
    for number in range(10, 21):
        source.take(first, number / 10)
        source.clear_alternation(number / 10)
    assert source.camera is not None
    assert source.camera.fx == 640


def test_camera_of_another_size_is_used_once_the_first_is_gone() -> None:
    source = CameraSource(NO_FOV)
    source.take(info_of(640, 480), 0.0)
    for number in range(1, 21):
        source.take(info_of(1280, 960), number / 10)
    source.clear_alternation(2.0)
    source.clear_alternation(3.1)
    assert source.camera is not None
    assert source.camera.width == 1280


def test_zoom_is_applied_at_once() -> None:
    source = CameraSource(NO_FOV)
    for number in range(5):
        source.take(info_of(640, 480, focal=600.0 + number), number / 30)
        assert source.camera is not None
        assert source.camera.fx == 600 + number


def test_refusal_is_reported_until_a_valid_camera_info_arrives() -> None:
    source = CameraSource(NO_FOV)
    with pytest.raises(ValueError, match='all zeros'):
        source.take(CameraInfo(width=640, height=480), 0.0)
    assert source.problem == 'camera_info refused: k is all zeros: the camera is not calibrated'
    source.take(info_of(640, 480), 0.1)
    assert source.problem == ''
