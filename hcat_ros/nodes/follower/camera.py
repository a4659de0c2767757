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
"""Share of a side by which hardly any lens has its principal point off the middle."""
WRONG_CENTRE = 0.2
"""Share of a side from which the matrix must be for images of another size."""
SAME_ASPECT = 0.005
"""Share of a side by which two sizes may miss the same aspect, to be scaled to each other."""


def camera_of(info: Any, rectified: bool, pitch: float) -> CameraModel:
    """Return the camera of a sensor_msgs/CameraInfo, in pixels of the images that it goes with.

    rectified: whether those are without distortion already. pitch: by how much the camera looks
    down. Raises ValueError for a camera that is not calibrated and for values that are none.
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
    """Knows the camera, once there is something to know it from.

    Times are of a monotonic clock, seconds.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Take the parameters' values. Raises ValueError."""
        self.camera: CameraModel | None = None
        """Camera in pixels of the images that the tracks are of; None unless it is known for
        sure."""
        self.problem = ''
        """Why it is not."""
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
    def is_told(self) -> bool:
        """Whether anything has said what the camera is, though it may be of no use."""
        told = self._calibrated is not None or self._values['horizontal_fov'] > 0
        return told or bool(self._refused or self._alternating)

    def describe(self, values: Mapping[str, Any]) -> None:
        """Take the present values of the live parameters: field of view and image size."""
        self._values = values
        self._settle()

    def take(self, info: Any, now: float) -> None:
        """Take a sensor_msgs/CameraInfo. Raises ValueError, once, for one that cannot be used.

        None counts while two alternate, which are those of two cameras. One of another size counts
        when those of the first have been gone for `PATIENCE`.
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
        """Take the size and the frame of the images that the tracks are of."""
        self._view = view
        self._settle()

    def look(self, now: float) -> None:
        """Find out whether what alternated still does."""
        if self._alternating and now - self._alternated >= PATIENCE:
            self._alternating = ''
            self._settle()

    def refusal(self, box: Box) -> str:
        """Return why a box cannot be of this camera's images, '' if it can."""
        camera = self.camera
        if camera is None:
            return self.problem
        if box.w <= 0 or box.h <= 0:
            return 'it has no size'
        for centre, side in ((box.cx, camera.width), (box.cy, camera.height)):
            if centre < -OUTSIDE * side or centre > (1 + OUTSIDE) * side:
                size = f'{camera.width}x{camera.height}'
                return f'outside of the {size} of camera_info: is that of these images?'
        return ''

    def _note_alternation(self, between: str, now: float) -> None:
        self._alternating, self._alternated = between, now
        self._settle()

    def _settle(self) -> None:
        """Find the camera that all that is known comes to."""
        self.camera, self.problem, self.doubts = None, '', []
        view = self._view
        known = self._calibrated or camera_of_fov(self._values, view)
        if self._alternating:
            self.problem = f'camera_info alternates between {self._alternating}: of two cameras?'
            return
        if known is None:
            self.problem = self._refused or 'the camera is not known'
            if self._values['horizontal_fov'] and not self._refused:
                self.problem = (
                    'horizontal_fov is set, and the size of the images is not known: the tracker '
                    'has not told it on track_view; set image_width and image_height'
                )
            return
        self.camera = known
        if self._refused:
            self.doubts.append(f'{self._refused}; the one before still counts')
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
                'image: is it of these images?'
            )


def _content(info: Any) -> str:
    """Return all that a camera is made from. NaN differs from itself, its text does not."""
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
