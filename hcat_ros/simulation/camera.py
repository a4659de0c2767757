# SPDX-License-Identifier: Apache-2.0
"""A pinhole camera in a world with x and y on the ground and z up, metres (REP-103)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


class Pose(NamedTuple):
    """Position [m] and direction [rad] of the camera: yaw left of x, pitch upwards, no roll."""

    x: float
    y: float
    z: float
    yaw: float
    pitch: float

    @property
    def position(self) -> Matrix:
        """Position of the camera, (3,), metres."""
        return np.array((self.x, self.y, self.z))

    @property
    def axes(self) -> Matrix:
        """Directions of the camera in the world, (3, 3); rows: forward, left, up."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        level, climb = math.cos(self.pitch), math.sin(self.pitch)
        return np.array(
            (
                (cos * level, sin * level, climb),
                (-sin, cos, 0.0),
                (-cos * climb, -sin * climb, level),
            )
        )

    def seen(self, point: Matrix) -> Matrix:
        """Return a point of the world as (forward, left, up) of the camera, metres."""
        return np.asarray(self.axes @ (np.asarray(point) - self.position))


class TrueBearing(NamedTuple):
    """Direction and distance in the camera's body frame."""

    azimuth: float
    """Angle to the left [rad]."""
    elevation: float
    """Angle upwards [rad]."""
    range: float
    """Distance, metres."""


def bearing_of(seen: Matrix) -> TrueBearing:
    """Return the bearing of a point given as (forward, left, up), metres."""
    forward, left, up = (float(value) for value in seen)
    level = math.hypot(forward, left)
    return TrueBearing(math.atan2(left, forward), math.atan2(up, level), math.hypot(level, up))


def plane_depth(
    normal: Matrix,
    point: Matrix,
    pose: Pose,
    lens: Pinhole,
    part: tuple[slice, slice] = (slice(None), slice(None)),
) -> Matrix:
    """Return the depth [m along the optical axis] at which the rays of pixels meet a plane.

    normal, point: normal and a point of the plane in the world, (3,). part: rows and columns of the
    pixels. The depth is infinite for rays that meet the plane behind the camera.
    """
    rows, columns = np.arange(lens.height)[part[0], None], np.arange(lens.width)[part[1]]
    forward, left, up = pose.axes @ normal
    right, down = (columns - lens.centre[0]) / lens.focal, (rows - lens.centre[1]) / lens.focal
    with np.errstate(divide='ignore'):
        depth = (normal @ (point - pose.position)) / (forward - right * left - down * up)
    return np.asarray(np.where(depth > 0, depth, np.inf))


@dataclass(frozen=True)
class Pinhole:
    """A camera without distortion, with square pixels and the principal point in the middle."""

    width: int
    height: int
    horizontal_fov: float
    """Horizontal field of view, radians."""

    @property
    def focal(self) -> float:
        """Focal length, pixels."""
        return self.width / 2 / math.tan(self.horizontal_fov / 2)

    @property
    def centre(self) -> tuple[float, float]:
        """Principal point (cx, cy) in OpenCV's pixels: whole numbers are the middles of pixels."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    @property
    def matrix(self) -> Matrix:
        """Camera matrix, `k` of CameraInfo, (3, 3)."""
        return np.array(
            ((self.focal, 0, self.centre[0]), (0, self.focal, self.centre[1]), (0, 0, 1.0))
        )

    def projection(self, pose: Pose) -> Matrix:
        """Return M (3, 3): the direction d of the world appears at the homogeneous pixel M d."""
        forward, left, up = pose.axes
        return np.asarray(self.matrix @ np.stack((-left, -up, forward)))

    def horizon(self, pose: Pose) -> float:
        """Return the row of the horizon, which is horizontal because the camera does not roll."""
        return self.centre[1] + self.focal * math.tan(pose.pitch)
