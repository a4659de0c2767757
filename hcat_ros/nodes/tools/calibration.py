# SPDX-License-Identifier: Apache-2.0
"""Builds sensor_msgs/CameraInfo from a field of view or a calibration file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CameraInfo

from hcat_ros.files import load_yaml, shown
from hcat_ros.simulation.camera import Pinhole

MATRICES = {'camera_matrix': 'k', 'rectification_matrix': 'r', 'projection_matrix': 'p'}
"""Fields of CameraInfo by their names in the file."""


def camera_info_of(lens: Pinhole) -> CameraInfo:
    """Return the CameraInfo of a camera without distortion; its header is empty."""
    info = CameraInfo()
    info.width, info.height = lens.width, lens.height
    info.distortion_model = 'plumb_bob'
    info.d = [0.0] * 5
    info.k = [float(value) for value in lens.matrix.ravel()]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    rows = [[float(value) for value in row] + [0.0] for row in lens.matrix]
    info.p = [value for row in rows for value in row]
    return info


def read_calibration(path: Path) -> CameraInfo:
    """Return the CameraInfo in a calibration file, as ROS's camera_calibration writes it.

    Raises OSError, or ValueError with the file and the value if it is not a calibration.
    """
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f'{path}: expected a calibration as camera_calibration writes it')
    info = CameraInfo()
    for field, name in (('width', 'image_width'), ('height', 'image_height')):
        setattr(info, field, _whole_number(path, name, content.get(name)))
    info.distortion_model = _text(path, 'distortion_model', content.get('distortion_model', ''))
    for name, field in MATRICES.items():
        if name in content or name == 'camera_matrix':
            wanted = len(getattr(info, field))
            setattr(info, field, _numbers(path, name, content.get(name), wanted))
    if 'distortion_coefficients' in content:
        name = 'distortion_coefficients'
        info.d = _numbers(path, name, content[name], None)
    return info


def _whole_number(path: Path, name: str, value: Any) -> int:
    if type(value) is not int or not 0 < value <= 65535:
        raise ValueError(f'{path}: {name} {shown(value)}: expected a whole number of pixels')
    return value


def _text(path: Path, name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f'{path}: {name} {shown(value)}: expected a text')
    return value


def _numbers(path: Path, name: str, matrix: Any, wanted: int | None) -> list[float]:
    data = matrix.get('data') if isinstance(matrix, dict) else None
    values = data if isinstance(data, list) else []
    finite = all(type(value) in (int, float) and math.isfinite(value) for value in values)
    if data is not values or not finite or len(values) != (wanted or len(values)):
        count = 'numbers' if wanted is None else f'{wanted} numbers'
        raise ValueError(f'{path}: {name} {shown(data)}: expected data of {count}')
    return [float(value) for value in values]
