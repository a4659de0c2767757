# SPDX-License-Identifier: Apache-2.0
"""Determines the camera of the tracks from camera_info or from parameters."""

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
"""How far the centre of a box may lie outside the image, as a share of the image's side."""
ODD_CENTRE = 0.1
"""Offset of the principal point from the image centre, as a share of a side, that is reported."""
WRONG_CENTRE = 0.2
"""Offset above which a matrix is refused, because it must be for images of another size."""
SAME_ASPECT = 0.005
"""Relative difference in aspect ratio up to which a camera is scaled to another image size."""


def camera_of(info: Any, rectified: bool, pitch: float) -> CameraModel:
    """Return the camera of a sensor_msgs/CameraInfo, in pixels of the images that belong to it.

    rectified: whether those images are already undistorted. pitch: angle by which the camera looks
    down, rad. Raises ValueError for an uncalibrated camera and for impossible values.
    """
    full = np.asarray(info.p, np.float64).reshape(3, 4)[:, :3] if rectified else info.k
    matrix = np.array(full, np.float64).reshape(3, 3)
    name = 'p' if rectified else 'k'
    if not matrix.any():
        raise ValueError(f'{name} is all zeros: the camera is not calibrated')
    # Matrices are for the whole sensor: shift them for a region of it, scale them for binning.
    off = _off_centre(matrix, info.width, info.height)
    if off > WRONG_CENTRE:
        raise ValueError(
            f'the principal point of {name} ({matrix[0, 2]:.0f}, {matrix[1, 2]:.0f}) is far off '
            f'the middle of {info.width}x{info.height}: {name} must be for the whole sensor '
            'without binning, even if the images show only a part of it'
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
        """Camera in pixels of the tracks' images; None unless it is known for sure."""
        self.problem = ''
        """Why the camera is not known; empty if it is."""
        self.doubts: list[str] = []
        """Possible errors of the camera that do not prevent its use."""
        self._rectified, self._pitch = values['rectified'], values['camera_pitch']
        self._values = values
        self._calibrated: CameraModel | None = None
        self._info: Any = None
        self._refused = self._alternating = ''
        self._contents: list[str] = ['', '']
        """The last two different contents of camera_info."""
        self._seen = self._changed = self._alternated = -PATIENCE
        self._view: CameraView | None = None
        self._update()

    @property
    def has_input(self) -> bool:
        """Whether a camera_info has come or horizontal_fov is set, even if neither can be used."""
        usable = self._calibrated is not None or self._values['horizontal_fov'] > 0
        return usable or bool(self._refused or self._alternating)

    def configure(self, values: Mapping[str, Any]) -> None:
        """Use new values of the live parameters: field of view and image size.

        `camera_pitch` and `rectified`, which are not live, stay as they were at the start.
        """
        self._values = {**values, 'camera_pitch': self._pitch}
        self._update()

    def take(self, info: Any, now: float) -> None:
        """Take a sensor_msgs/CameraInfo. Raises ValueError, once, if it cannot be used.

        If two contents alternate, they come from two cameras, and `camera` is None. A camera_info
        of another size is used once the first has been absent for `PATIENCE` seconds.
        """
        content = _content(info)
        if content == self._contents[-1]:  # each image comes with the same camera_info
            self._seen = now
            return
        if self._info is not None and now - self._seen < PATIENCE:
            sizes = [f'{each.width}x{each.height}' for each in (self._info, info)]
            if sizes[0] != sizes[1]:
                self._record_alternation(' and '.join(sizes), now)
                return
            if content == self._contents[-2] and now - self._changed < PATIENCE:
                self._record_alternation('two calibrations', now)
        self._contents = [self._contents[-1], content]
        self._seen = self._changed = now
        try:
            self._calibrated = camera_of(info, self._rectified, self._pitch)
            self._info, self._refused = info, ''
        except ValueError as error:
            self._refused = f'camera_info refused: {error}'
            raise
        finally:
            self._update()

    def take_view(self, view: CameraView) -> None:
        """Take the size and the frame of the tracks' images.

        Raises ValueError for a view without width or height; the last view then stays in use.
        """
        if view.width < 1 or view.height < 1:
            raise ValueError(
                f'its images are {view.width}x{view.height}: expected a width and a height above 0'
            )
        self._view = view
        self._update()

    def clear_alternation(self, now: float) -> None:
        """Clear the alternation if camera_info has not alternated for `PATIENCE` seconds."""
        if self._alternating and now - self._alternated >= PATIENCE:
            self._alternating = ''
            self._update()

    def refusal(self, box: Box) -> str:
        """Return why a box cannot be used: no camera, or a box outside its images; '' if it can."""
        camera = self.camera
        if camera is None:
            return self.problem
        if box.w <= 0 or box.h <= 0:
            return 'it has no size'
        for centre, side in ((box.cx, camera.width), (box.cy, camera.height)):
            if centre < -OUTSIDE * side or centre > (1 + OUTSIDE) * side:
                size = f'{camera.width}x{camera.height}'
                return f'its centre is outside of the {size} camera image: is camera_info right?'
        return ''

    def _record_alternation(self, between: str, now: float) -> None:
        self._alternating, self._alternated = between, now
        self._update()

    def _update(self) -> None:
        """Update `camera`, `problem` and `doubts` from all inputs so far."""
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
                f"camera_info has frame '{frame}', but the images have frame '{view.frame_id}'"
            )
        matrix = np.array(self._info.p if self._rectified else self._info.k, np.float64)
        off = _off_centre(matrix.reshape(3, -1), self._info.width, self._info.height)
        if off > ODD_CENTRE:
            self.doubts.append(
                f"camera_info's principal point is off the middle by {100 * off:.0f} % of the "
                'image size: is camera_info from another camera or resolution?'
            )


def _content(info: Any) -> str:
    """Return all fields that `camera_of` uses, as text, because NaN does not equal itself."""
    roi = info.roi
    fields = (info.width, info.height, info.distortion_model, *info.k, *info.p, *info.d)
    fields += (info.binning_x, info.binning_y, info.header.frame_id)
    return repr((*fields, roi.x_offset, roi.y_offset, roi.width, roi.height))


def _off_centre(matrix: NDArray[np.float64], width: int, height: int) -> float:
    """Return a principal point's offset from the middle, as a share of a side; 0 without size."""
    if not (width and height):
        return 0.0
    return float(max(abs(matrix[0, 2] / width - 0.5), abs(matrix[1, 2] / height - 0.5)))


def _scale(camera: CameraModel, width: int, height: int) -> CameraModel | None:
    """Return the camera for images of another size, None if their aspect ratio differs."""
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
