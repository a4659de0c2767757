# SPDX-License-Identifier: Apache-2.0
"""The camera that the tracks are of, from camera_info or from parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel
from hcat_ros.following.camera import PIXEL_MIDDLE
from hcat_ros.nodes.follower.settings import camera_of_fov
from hcat_ros.tracking.stream import PATIENCE, CameraView

OUTSIDE = 0.25
"""Share of the frame's side by which the centre of a box may lie outside of it."""
ODD_CENTRE = 0.1
"""Offset of the principal point from the image centre, as a share of a side, that is doubted."""
WRONG_CENTRE = 0.2
"""Offset from which the matrix is refused: it must be for images of another size."""
SAME_ASPECT = 0.005
"""Relative difference in aspect ratio up to which a camera is scaled to another image size."""


def camera_of(info: Any, rectified: bool, pitch: float) -> CameraModel:
    """Return the camera of a sensor_msgs/CameraInfo, in pixels of the images that it goes with.

    rectified: whether those images are already undistorted. pitch: angle by which the camera looks
    down, rad. Raises ValueError for a camera that is not calibrated and for impossible values.
    """
    full = np.asarray(info.p, np.float64).reshape(3, 4)[:, :3] if rectified else info.k
    matrix = np.array(full, np.float64).reshape(3, 3)
    name = 'p' if rectified else 'k'
    if not matrix.any():
        raise ValueError(f'{name} is all zeros: the camera is not calibrated')
    # Matrices are for the whole sensor: a region of it starts elsewhere, binned pixels are larger.
    off = _off_centre(matrix, info.width, info.height)
    if off > WRONG_CENTRE:
        raise ValueError(
            f'the principal point of {name} ({matrix[0, 2]:.0f}, {matrix[1, 2]:.0f}) is far off '
            f'the middle of {info.width}x{info.height}: {name} is for the whole sensor without '
            'binning, whatever part of it the images show'
        )
    across, down = max(info.binning_x, 1), max(info.binning_y, 1)
    middle = np.array((0, 0, PIXEL_MIDDLE))
    matrix[0] = (matrix[0] - (0, 0, info.roi.x_offset) + middle) / across - middle
    matrix[1] = (matrix[1] - (0, 0, info.roi.y_offset) + middle) / down - middle
    width, height = (
        (info.roi.width or info.width) // across,
        (info.roi.height or info.height) // down,
    )
    distortion = () if rectified else tuple(info.d)
    model = 'plumb_bob' if rectified else info.distortion_model
    return CameraModel.from_info(width, height, matrix, distortion, model, pitch)


class CameraSource:
    """Determines the camera model from camera_info, the parameters and the tracker's images.

    Times are of a monotonic clock, seconds.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take the parameters' values. Raises ValueError."""
        self.camera: CameraModel | None = None
        """Camera in pixels of the images that the tracks are of; None unless it is known for
        sure."""
        self.problem = ''
        """Why the camera is not known; empty if it is."""
        self.doubts: list[str] = []
        """Oddities of the camera that do not keep it from being used."""
        self._rectified, self._pitch = values['rectified'], values['camera_pitch']
        self._values = values
        self._calibrated: CameraModel | None = None
        self._info: Any = None
        self._refused = self._alternating = ''
        self._contents: list[str] = ['', '']
        """Contents of the last two camera_infos that differed."""
        self._seen = self._changed = self._alternated = -PATIENCE
        self._view: CameraView | None = None
        self._settle()

    @property
    def has_input(self) -> bool:
        """Whether a camera_info has come or horizontal_fov is set, even if neither can be used."""
        told = self._calibrated is not None or self._values['horizontal_fov'] > 0
        return told or bool(self._refused or self._alternating)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Use new values of the live parameters: field of view and image size.

        `camera_pitch` and `rectified`, which are not live, stay as they were at the start.
        """
        self._values = {**values, 'camera_pitch': self._pitch}
        self._settle()

    def take(self, info: Any, now: float) -> None:
        """Take a sensor_msgs/CameraInfo. Raises ValueError, once, for one that cannot be used.

        While two kinds alternate, they are from two cameras and there is no `camera`. A camera_info
        of another size is used once the first has not come for `PATIENCE` seconds.
        """
        content = _content(info)
        if content == self._contents[-1]:  # one comes with each image
            self._seen = now
            return
        if self._info is not None and now - self._seen < PATIENCE:
            sizes = [f'{each.width}x{each.height}' for each in (self._info, info)]
            if sizes[0] != sizes[1]:
                self._note_alternation(' and '.join(sizes), now)
                return
            if content == self._contents[-2] and now - self._changed < PATIENCE:
                self._note_alternation('two calibrations', now)
        self._contents = [self._contents[-1], content]
        self._seen = self._changed = now
        try:
            self._calibrated = camera_of(info, self._rectified, self._pitch)
            self._info, self._refused = info, ''
        except ValueError as error:
            self._refused = f'camera_info refused: {error}'
            raise
        finally:
            self._settle()

    def take_view(self, view: CameraView) -> None:
        """Take the size and the frame of the images that the tracks are of.

        Raises ValueError for a view without width or height; the last one stays.
        """
        if view.width < 1 or view.height < 1:
            raise ValueError(
                f'its images are {view.width}x{view.height}: expected a width and a height above 0'
            )
        self._view = view
        self._settle()

    def clear_alternation(self, now: float) -> None:
        """Clear the alternation if none has been seen for `PATIENCE`."""
        if self._alternating and now - self._alternated >= PATIENCE:
            self._alternating = ''
            self._settle()

    def refusal(self, box: Box) -> str:
        """Return why a box cannot be used: no camera, or no box of its images; '' if it can."""
        camera = self.camera
        if camera is None:
            return self.problem
        if box.w <= 0 or box.h <= 0:
            return 'it has no size'
        for centre, side in ((box.cx, camera.width), (box.cy, camera.height)):
            if centre < -OUTSIDE * side or centre > (1 + OUTSIDE) * side:
                size = f'{camera.width}x{camera.height}'
                return f'its centre is outside of the {size} camera image: is camera_info for it?'
        return ''

    def _note_alternation(self, between: str, now: float) -> None:
        self._alternating, self._alternated = between, now
        self._settle()

    def _settle(self) -> None:
        """Set `camera`, `problem` and `doubts` from everything that is known."""
        self.camera, self.problem, self.doubts = None, '', []
        view = self._view
        known = self._calibrated or camera_of_fov(self._values, view)
        if self._alternating:
            self.problem = f'camera_info alternates between {self._alternating}: remap one camera'
            return
        if known is None:
            self.problem = self._refused or 'no camera_info yet, and horizontal_fov is 0'
            if self._values['horizontal_fov'] and not self._refused:
                self.problem = (
                    'horizontal_fov is set, but the size of the images is not known: the tracker '
                    'has not published track_view yet; set image_width and image_height'
                )
            return
        self.camera = known
        if self._refused:
            self.doubts.append(f'{self._refused}; using the previous camera_info')
        if view is not None and (view.width, view.height) != (known.width, known.height):
            source = 'camera_info says' if self._info else 'image_width and image_height say'
            sizes = f'images are {view.width}x{view.height}, {source} {known.width}x{known.height}'
            self.camera = _scale(known, view.width, view.height)
            if self.camera is None:
                self.problem = sizes
                return
            self.doubts.append(f'{sizes}: scaled to the images')
        if self._calibrated is None:
            return
        frame = self._info.header.frame_id.lstrip('/')
        if view is not None and frame and frame != view.frame_id.lstrip('/'):
            self.doubts.append(
                f"camera_info is of frame '{frame}', the images of '{view.frame_id}'"
            )
        matrix = np.array(self._info.p if self._rectified else self._info.k, np.float64)
        off = _off_centre(matrix.reshape(3, -1), self._info.width, self._info.height)
        if off > ODD_CENTRE:
            self.doubts.append(
                f"camera_info's principal point is off the middle by {100 * off:.0f} % of the "
                'image size: is camera_info from another camera or resolution?'
            )


def _content(info: Any) -> str:
    """Return all fields that `camera_of` uses, as text: unlike NaN, its text equals itself."""
    roi = info.roi
    fields = (info.width, info.height, info.distortion_model, *info.k, *info.p, *info.d)
    fields += (info.binning_x, info.binning_y, info.header.frame_id)
    return repr((*fields, roi.x_offset, roi.y_offset, roi.width, roi.height))


def _off_centre(matrix: NDArray[np.float64], width: int, height: int) -> float:
    """Return by which share of a side a principal point is off the middle; 0 without sides."""
    if not (width and height):
        return 0.0
    return float(max(abs(matrix[0, 2] / width - 0.5), abs(matrix[1, 2] / height - 0.5)))


def _scale(camera: CameraModel, width: int, height: int) -> CameraModel | None:
    """Return the camera for images of another size, None for those of another aspect."""
    across, down = width / camera.width, height / camera.height
    if abs(camera.height * across - height) > max(1.0, SAME_ASPECT * height):
        return None
    return replace(
        camera,
        width=width,
        height=height,
        fx=camera.fx * across,
        cx=(camera.cx + PIXEL_MIDDLE) * across - PIXEL_MIDDLE,
        fy=camera.fy * down,
        cy=(camera.cy + PIXEL_MIDDLE) * down - PIXEL_MIDDLE,
    )
