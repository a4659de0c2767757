# SPDX-License-Identifier: Apache-2.0
"""The camera that the tracks are of, from camera_info or from parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel
from hcat_ros.nodes.follower_settings import camera_of_fov

OUTSIDE = 0.25
"""Share of the frame's side by which the centre of a box may lie outside of it."""


def camera_of(info: Any, rectified: bool, pitch: float) -> CameraModel:
    """Return the camera of a sensor_msgs/CameraInfo, in pixels of the images that it goes with.

    rectified: whether those are without distortion already. pitch: by how much the camera looks
    down. Raises ValueError for a camera that is not calibrated and for values that are none.
    """
    full = np.asarray(info.p, np.float64).reshape(3, 4)[:, :3] if rectified else info.k
    matrix = np.array(full, np.float64).reshape(3, 3)
    if not matrix.any():
        name = 'p' if rectified else 'k'
        raise ValueError(f'{name} is all zeros: the camera is not calibrated')
    # Matrices are for the whole sensor: a region of it starts elsewhere, binned pixels are larger.
    across, down = max(info.binning_x, 1), max(info.binning_y, 1)
    matrix[0] = (matrix[0] - (0, 0, info.roi.x_offset)) / across
    matrix[1] = (matrix[1] - (0, 0, info.roi.y_offset)) / down
    width, height = (
        (info.roi.width or info.width) // across,
        (info.roi.height or info.height) // down,
    )
    distortion = () if rectified else tuple(info.d)
    model = 'plumb_bob' if rectified else info.distortion_model
    return CameraModel.from_info(width, height, matrix, distortion, model, pitch)


class CameraSource:
    """Knows the camera, once there is something to know it from."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take the parameters' values. Raises ValueError."""
        self.camera: CameraModel | None = camera_of_fov(values)
        self._rectified, self._pitch = values['rectified'], values['camera_pitch']
        self._last = ''

    def take(self, info: Any) -> None:
        """Take a sensor_msgs/CameraInfo. Raises ValueError, once, for one that cannot be used."""
        roi = info.roi
        fields = (info.width, info.height, info.distortion_model, *info.k, *info.p, *info.d)
        fields += (info.binning_x, info.binning_y)
        fields += (roi.x_offset, roi.y_offset, roi.width, roi.height)
        if repr(fields) != self._last:  # one comes with each image; NaN differs from itself
            self._last = repr(fields)
            self.camera = camera_of(info, self._rectified, self._pitch)

    def refusal(self, box: Box) -> str:
        """Return why a box cannot be of this camera's images, '' if it can."""
        camera = self.camera
        if camera is None:
            return 'the camera is not known'
        if box.w <= 0 or box.h <= 0:
            return 'it has no size'
        for centre, side in ((box.cx, camera.width), (box.cy, camera.height)):
            if centre < -OUTSIDE * side or centre > (1 + OUTSIDE) * side:
                size = f'{camera.width}x{camera.height}'
                return f'outside of the {size} of camera_info: is that of these images?'
        return ''
