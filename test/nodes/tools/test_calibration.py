# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('sensor_msgs', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from hcat_ros.nodes.tools.calibration import camera_info_of, read_calibration
from hcat_ros.simulation.camera import Pinhole

# As camera_calibration wrote it for a webcam.
CALIBRATION = """
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [438.783367, 0, 305.593336, 0.000000, 437.302876, 243.738352, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.361976, 0.110510, 0.001014, 0.000505, 0.000000]
rectification_matrix:
  rows: 3
  cols: 3
  data: [0.999978, 0.002789, -0.006046, -0.002816, 0.999986, -0.004401, 0.006034, 0.004417, 0.99997]
projection_matrix:
  rows: 3
  cols: 4
  data: [393.653800, 0, 322.797939, 0, 0, 393.653800, 241.090902, 0, 0, 0, 1, 0]
"""


def test_camera_calibration_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'camera.yaml'
    path.write_text(CALIBRATION)
    info = read_calibration(path)
    assert (info.width, info.height, info.distortion_model) == (640, 480, 'plumb_bob')
    assert (info.k[0], info.k[2], info.k[4], info.k[8]) == (438.783367, 305.593336, 437.302876, 1)
    assert list(info.d) == [-0.361976, 0.110510, 0.001014, 0.000505, 0.0]
    assert (info.r[1], info.p[2], info.p[10]) == (0.002789, 322.797939, 1)


@pytest.mark.parametrize(
    ('name', 'value', 'reason'),
    [
        ('image_width', None, 'image_width None: expected a whole number of pixels'),
        ('image_height', 480.5, 'image_height 480.5'),
        ('image_width', 10**9, 'image_width 1000000000'),
        ('camera_matrix', None, 'camera_matrix None: expected data of 9 numbers'),
        ('camera_matrix', {'data': [1.0] * 8}, 'expected data of 9 numbers'),
        ('camera_matrix', {'data': [math.nan] * 9}, 'expected data of 9 numbers'),
        ('projection_matrix', {'data': ['1'] * 12}, 'projection_matrix'),
        ('distortion_coefficients', [1.0], 'distortion_coefficients None'),
        ('distortion_model', 5, 'distortion_model 5: expected a text'),
    ],
)
def test_invalid_calibration_is_refused_with_the_reason(
    tmp_path: Path, name: str, value: Any, reason: str
) -> None:
    content = yaml.safe_load(CALIBRATION) | {name: value}
    path = tmp_path / 'camera.yaml'
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=reason) as refused:
        read_calibration(path)
    assert str(path) in str(refused.value)


def test_a_field_of_view_becomes_a_focal_length() -> None:
    info = camera_info_of(Pinhole(640, 480, math.pi / 2))
    assert info.k[0] == info.k[4] == pytest.approx(320.0)
    assert (info.k[2], info.k[5]) == (319.5, 239.5)
    assert list(info.p[:4]) == [info.k[0], 0.0, 319.5, 0.0]
