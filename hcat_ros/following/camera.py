# SPDX-License-Identifier: Apache-2.0
"""Converts pixels to bearings and back, for lenses with distortion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcat_ros.boxes import Box

COEFFICIENTS = {
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (0, 4, 5, 8, 12, 14),
    'equidistant': (0, 4),
}
"""Valid numbers of coefficients for each distortion_model of CameraInfo; 0: no distortion."""
NARROWEST_FOV, WIDEST_FOV = 0.01, 3.1
"""Limits of a field of view from side to side, rad: a pinhole camera cannot see 180 degrees."""
FOCAL_LIMITS = 0.001, 1000.0
"""Limits of a focal length, in multiples of the longer side of the image."""
NEWTON_STEPS = 20
RAY_TOLERANCE = 0.1
"""Pixels by which a ray that is projected back may miss the pixel that it came from."""
PIXEL_MIDDLE = 0.5
"""Box coordinate of the centre of the first pixel; for CameraInfo's principal point, this is 0."""


class Angles(NamedTuple):
    """A direction in the body frame (x forward, y left, z up): rad to the left, rad up."""

    azimuth: float
    elevation: float


@dataclass(frozen=True)
class CameraModel:
    """A calibrated camera. Raises ValueError with the value for an impossible calibration.

    Bearings are in the frame of the camera's mount (REP-103: x forward, y left, z up). `pitch` is
    the angle by which the camera looks down from the mount (rad, a rotation about y).

    The principal point (cx, cy) follows CameraInfo and OpenCV: whole numbers are pixel centres.
    The methods take and return pixels in box coordinates: the first pixel covers 0 to 1.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    model: str = 'plumb_bob'
    pitch: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f'image size {self.width}x{self.height}: expected above 0')
        shortest, longest = (limit * max(self.width, self.height) for limit in FOCAL_LIMITS)
        for name in ('fx', 'fy'):
            value = getattr(self, name)
            if not shortest <= value <= longest:
                raise ValueError(
                    f'{name} {value:g}: expected {shortest:g} to {longest:g} for images of '
                    f'{self.width}x{self.height}; is the camera calibrated?'
                )
        for name in ('cx', 'cy', 'pitch'):
            value = getattr(self, name)
            if not math.isfinite(value):
                raise ValueError(
                    f'{name} {value}: expected a finite number; is the camera calibrated?'
                )
        if abs(self.pitch) > math.pi / 2:
            raise ValueError(f'pitch {self.pitch}: expected -1.57 to 1.57')
        if self.model not in COEFFICIENTS:
            known = ', '.join(COEFFICIENTS)
            raise ValueError(f'distortion model {self.model!r}: expected one of {known}')
        if len(self.distortion) not in COEFFICIENTS[self.model]:
            raise ValueError(
                f'{len(self.distortion)} distortion coefficients: '
                f'{self.model} has {COEFFICIENTS[self.model][-1]}'
            )
        if not all(math.isfinite(value) for value in self.distortion):
            raise ValueError(f'distortion {self.distortion}: expected finite numbers')

    @classmethod
    def from_info(
        cls,
        width: int,
        height: int,
        k: ArrayLike,
        d: Sequence[float] = (),
        distortion_model: str = 'plumb_bob',
        pitch: float = 0.0,
    ) -> CameraModel:
        """Return the camera of a CameraInfo's fields: k (9,) or (3, 3), d as in the message."""
        matrix = np.asarray(k, np.float64)
        if matrix.size != 9:
            raise ValueError(f'camera matrix of {matrix.size} numbers: expected 9')
        (fx, _, cx), (_, fy, cy) = matrix.reshape(3, 3)[:2].tolist()
        distortion = tuple(float(value) for value in d)
        # Drivers of cameras without distortion leave the model empty, set it to none or fill d with
        # zeros. OpenCV's calibration calls a model with eight coefficients plumb_bob too.
        if not any(distortion):
            distortion = ()
            if distortion_model in ('', 'none'):
                distortion_model = 'plumb_bob'
        elif distortion_model == 'plumb_bob' and len(distortion) > COEFFICIENTS['plumb_bob'][-1]:
            distortion_model = 'rational_polynomial'
        return cls(int(width), int(height), fx, fy, cx, cy, distortion, distortion_model, pitch)

    @classmethod
    def from_fov(
        cls, width: int, height: int, horizontal_fov: float, pitch: float = 0.0
    ) -> CameraModel:
        """Return a camera without distortion that sees `horizontal_fov` rad from side to side."""
        if not NARROWEST_FOV <= horizontal_fov <= WIDEST_FOV:
            raise ValueError(
                f'horizontal_fov {horizontal_fov}: expected {NARROWEST_FOV} to {WIDEST_FOV} rad'
            )
        focal = width / 2 / math.tan(horizontal_fov / 2)
        return cls(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, pitch=pitch)

    def bearing(self, u: float, v: float) -> Angles:
        """Return the bearing of the pixel (u, v); NaN if the lens has no ray for the pixel."""
        x, y, z = self._mount_ray(u, v)
        return Angles(math.atan2(y, x), math.atan2(z, math.hypot(x, y)))

    def distance(self, u: float, v: float, depth: float) -> float:
        """Return the distance (m) of the point that pixel (u, v) shows at `depth`, m.

        The depth is measured along the optical axis; the distance is NaN without a ray.
        """
        right, down, ahead = self._ray(u, v)
        if not ahead > 0:
            return math.nan
        return depth * math.sqrt(right * right + down * down + ahead * ahead) / ahead

    def pixel(self, azimuth: float, elevation: float) -> tuple[float, float]:
        """Return the pixel (u, v) that shows a bearing; NaN for one that is behind the camera."""
        x = math.cos(elevation) * math.cos(azimuth)
        y = math.cos(elevation) * math.sin(azimuth)
        z = math.sin(elevation)
        c, s = math.cos(self.pitch), math.sin(self.pitch)
        return self._project(-y, -(s * x + c * z), c * x - s * z)

    def angular_size(self, box: Box) -> tuple[float, float]:
        """Return the angles that a box of pixels spans, (width, height) in rad.

        They are the angles between the rays through the middles of opposite sides, which are also
        right at the border of a wide lens.
        """
        middle = [
            (box.x, box.cy),
            (box.x + box.w, box.cy),
            (box.cx, box.y),
            (box.cx, box.y + box.h),
        ]
        left, right, top, bottom = (np.array(self._mount_ray(u, v)) for u, v in middle)
        return _angle_between(left, right), _angle_between(top, bottom)

    def _mount_ray(self, u: float, v: float) -> tuple[float, float, float]:
        """Return the ray of a pixel in the frame of the mount."""
        right, down, ahead = self._ray(u, v)
        c, s = math.cos(self.pitch), math.sin(self.pitch)
        return c * ahead - s * down, -right, -s * ahead - c * down

    def _ray(self, u: float, v: float) -> tuple[float, float, float]:
        """Return the ray of a pixel in the optical frame: right, down, ahead."""
        u, v = u - PIXEL_MIDDLE, v - PIXEL_MIDDLE
        xd, yd = (u - self.cx) / self.fx, (v - self.cy) / self.fy
        nowhere = math.nan, math.nan, math.nan
        if not (math.isfinite(xd) and math.isfinite(yd)):
            return nowhere
        if self.model == 'equidistant':
            radius = math.hypot(xd, yd)
            theta = self._angle_off_axis(radius)
            if math.isnan(theta):
                return nowhere
            if radius == 0:
                return 0.0, 0.0, 1.0
            across = math.sin(theta) / radius
            return xd * across, yd * across, math.cos(theta)
        if not self.distortion:
            return xd, yd, 1.0
        x, y = self._undistort(u, v)
        seen = self._project_to_matrix(x, y, 1.0)
        # Outside the calibrated region polynomials fold back; no ray is better than a wrong one.
        if not math.hypot(seen[0] - u, seen[1] - v) < RAY_TOLERANCE:
            return nowhere
        return x, y, 1.0

    def _undistort(self, u: float, v: float) -> tuple[float, float]:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-10)
        points = np.array([[[u, v]]], np.float64)
        distortion = np.array(self.distortion)
        # OpenCV's default of five iterations is off by degrees at the border of a wide lens.
        iterated = getattr(cv2, 'undistortPointsIter', None)
        if iterated is not None:
            found = iterated(points, self._matrix, distortion, None, None, criteria)
        else:
            found = cv2.undistortPoints(
                points, self._matrix, distortion, R=None, P=None, criteria=criteria
            )
        x, y = np.asarray(found, np.float64).reshape(2).tolist()
        return x, y

    def _project(self, right: float, down: float, ahead: float) -> tuple[float, float]:
        """Return the pixel of a ray in the optical frame."""
        u, v = self._project_to_matrix(right, down, ahead)
        return u + PIXEL_MIDDLE, v + PIXEL_MIDDLE

    def _project_to_matrix(self, right: float, down: float, ahead: float) -> tuple[float, float]:
        """Return the pixel of a ray in the camera matrix's coordinates."""
        if self.model == 'equidistant':
            across = math.hypot(right, down)
            theta = math.atan2(across, ahead)
            scale = self._distort(theta) / across if across > 0 else 0.0
            return self.fx * right * scale + self.cx, self.fy * down * scale + self.cy
        if not ahead > 0:
            return math.nan, math.nan
        x, y = right / ahead, down / ahead
        if not (math.isfinite(x) and math.isfinite(y)):
            return math.nan, math.nan
        if self.distortion:
            seen, _ = cv2.projectPoints(
                np.array([[x, y, 1.0]]),
                np.zeros(3),
                np.zeros(3),
                self._matrix,
                np.array(self.distortion),
            )
            u, v = np.asarray(seen, np.float64).reshape(2).tolist()
            return u, v
        return self.fx * x + self.cx, self.fy * y + self.cy

    def _distort(self, theta: float) -> float:
        """Return theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8)."""
        square = theta * theta
        total = 0.0
        for coefficient in reversed(self.distortion):
            total = square * (coefficient + total)
        return theta * (1 + total)

    def _angle_off_axis(self, radius: float) -> float:
        """Return the angle that an equidistant lens shows at a normalised radius, or NaN.

        OpenCV's inverse stops at 90 degrees, but lenses see further.
        """
        theta = min(radius, math.pi)
        for _ in range(NEWTON_STEPS):
            step = 1e-6
            slope = (self._distort(theta + step) - self._distort(theta - step)) / (2 * step)
            if slope <= 0:
                return math.nan
            change = (radius - self._distort(theta)) / slope
            theta = min(max(theta + change, 0.0), math.pi)
            if abs(change) < 1e-12:
                break
        return theta if abs(self._distort(theta) - radius) * self.fx < RAY_TOLERANCE else math.nan

    @property
    def _matrix(self) -> NDArray[np.float64]:
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)


def _angle_between(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the angle between two rays, rad; exact for small ones, where acos is not."""
    return math.atan2(float(np.linalg.norm(np.cross(a, b))), float(a @ b))
