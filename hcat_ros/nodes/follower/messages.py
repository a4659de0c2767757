# SPDX-License-Identifier: Apache-2.0
"""Bearings, poses and commands as messages.

Angles are azimuth, to the left, and elevation, up, both rad. A Twist's angular.y and a pose's pitch
are right-handed about the axis to the left (REP-103): positive is nose DOWN.
"""

from __future__ import annotations

import math

import numpy as np
from geometry_msgs.msg import (
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
    Twist,
    TwistStamped,
)
from numpy.typing import NDArray
from std_msgs.msg import Header

from hcat_ros.following import Bearing, Command

ELEVATION_AT, AZIMUTH_AT = 4, 5
"""Rows of a pose's covariance: rotation about y, about z."""


def body_frame(frame: str, otherwise: str) -> tuple[str, str]:
    """Return the frame with x forward of a camera, and what is in doubt about it.

    frame: of its images. otherwise: what to take for images that have none.
    """
    name = frame.strip('/')
    if not name:
        return otherwise, (
            f"the tracks have no frame_id: target_bearing and target_pose are in '{otherwise}', as "
            'if the camera were there and looked forward; set camera_frame'
        )
    if '_optical' in name:
        return name.replace('_optical', ''), ''
    return name, (
        f"frame_id '{name}' has no _optical in it: taken for a frame with x forward, y left, z up; "
        'if z is forward, set camera_frame to one at the camera with x forward'
    )


def twist_of(command: Command) -> Twist:
    """Return a command as velocities. Raises ValueError unless all are finite numbers."""
    values = command.forward, command.left, command.up, command.pitch_rate, command.yaw_rate
    if not all(math.isfinite(value) for value in values):
        raise ValueError('command forward {} left {} up {} pitch {} yaw {}'.format(*values))
    twist = Twist()
    # float(): the message's C code takes a whole number's memory for a float's.
    twist.linear.x, twist.linear.y, twist.linear.z = (float(value) for value in values[:3])
    twist.angular.y, twist.angular.z = (float(value) for value in values[3:])
    return twist


def command_message(command: Command, header: Header, stamped: bool) -> Twist | TwistStamped:
    """Return a command as it is published. Raises ValueError unless it is finite."""
    twist = twist_of(command)
    return TwistStamped(header=header, twist=twist) if stamped else twist


def seen_from_camera(azimuth: float, elevation: float, pitch: float) -> tuple[float, float]:
    """Return the direction from a camera that looks down by `pitch`, of one from its mount."""
    x = math.cos(elevation) * math.cos(azimuth)
    y = math.cos(elevation) * math.sin(azimuth)
    z = math.sin(elevation)
    ahead = math.cos(pitch) * x - math.sin(pitch) * z
    up = math.sin(pitch) * x + math.cos(pitch) * z
    return math.atan2(y, ahead), math.atan2(up, math.hypot(ahead, y))


def bearing_message(bearing: Bearing, header: Header, pitch: float) -> PoseWithCovarianceStamped:
    """Return a bearing as a pose at the camera whose x axis points at the target.

    Its yaw is the azimuth, its pitch minus the elevation, its covariance that of these two; the
    position is none of the target's: it is 0, the camera's own.
    """
    angles, covariance = _in_camera_frame(bearing, pitch)
    message = PoseWithCovarianceStamped(header=header)
    message.pose.pose.orientation = _orientation(*angles)
    full = np.zeros((6, 6))
    full[AZIMUTH_AT, AZIMUTH_AT] = covariance[0, 0]
    full[ELEVATION_AT, ELEVATION_AT] = covariance[1, 1]
    # Rotation about y is minus the elevation.
    full[ELEVATION_AT, AZIMUTH_AT] = full[AZIMUTH_AT, ELEVATION_AT] = -covariance[0, 1]
    message.pose.covariance = full.ravel()
    return message


def pose_message(bearing: Bearing, distance: float, header: Header, pitch: float) -> PoseStamped:
    """Return where the target is, `distance` m from the camera; its x axis points away from it.

    So a goal some metres back along that axis lies on the way to the target.
    """
    azimuth, elevation = seen_from_camera(bearing.azimuth, bearing.elevation, pitch)
    message = PoseStamped(header=header)
    position = message.pose.position
    position.x = float(distance * math.cos(elevation) * math.cos(azimuth))
    position.y = float(distance * math.cos(elevation) * math.sin(azimuth))
    position.z = float(distance * math.sin(elevation))
    message.pose.orientation = _orientation(azimuth, elevation)
    return message


def _in_camera_frame(
    bearing: Bearing, pitch: float
) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """Return azimuth and elevation, and their covariance (2, 2)."""
    here = seen_from_camera(bearing.azimuth, bearing.elevation, pitch)
    step = 1e-6
    columns = [
        seen_from_camera(bearing.azimuth + step, bearing.elevation, pitch),
        seen_from_camera(bearing.azimuth, bearing.elevation + step, pitch),
    ]
    jacobian = (np.array(columns) - here).T / step
    covariance = np.asarray(bearing.covariance, np.float64)[:2, :2]
    return here, jacobian @ covariance @ jacobian.T


def _orientation(azimuth: float, elevation: float) -> Quaternion:
    """Return the turn by the azimuth about z, then by minus the elevation about the new y."""
    yaw, nod = azimuth / 2, -elevation / 2
    return Quaternion(
        x=-math.sin(yaw) * math.sin(nod),
        y=math.cos(yaw) * math.sin(nod),
        z=math.sin(yaw) * math.cos(nod),
        w=math.cos(yaw) * math.cos(nod),
    )
