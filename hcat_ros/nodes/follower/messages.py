# SPDX-License-Identifier: Apache-2.0
"""Converts bearings, poses and commands to messages.

Angles are azimuth, positive to the left, and elevation, positive up, in rad. A Twist's angular.y
and a pose's pitch are right-handed about the axis to the left (REP-103): positive is nose DOWN.
"""

from __future__ import annotations

import math

import numpy as np
from geometry_msgs.msg import (
    PoseStamped,
    PoseWithCovarianceStamped,
    Quaternion,
    TransformStamped,
    Twist,
    TwistStamped,
)
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA, Header
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from hcat_ros.following import Bearing, Command, Range

ELEVATION_AT, AZIMUTH_AT = 4, 5
"""Rows of a pose's covariance: rotation about y, about z."""
BODY_TO_OPTICAL = np.array(((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)))
"""REP-103: x forward, y left, z up to x right, y down, z forward."""
MARKER_LIFETIME = 0.5
"""Seconds for which a target's marker is shown."""
LABEL_HEIGHT = 0.2
"""Height of the letters above a target, m."""


def body_frame(frame: str, otherwise: str) -> tuple[str, str]:
    """Return the frame at a camera with x forward, and a warning if this frame is a guess.

    frame: frame of the images. otherwise: frame to return if the images have none.
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
        'if z is forward, set camera_frame to a frame at the camera with x forward'
    )


def twist_of(command: Command) -> Twist:
    """Return a command as a Twist. Raises ValueError unless all velocities are finite."""
    values = command.forward, command.left, command.up, command.pitch_rate, command.yaw_rate
    if not all(math.isfinite(value) for value in values):
        text = 'command forward {} left {} up {} pitch {} yaw {}: expected finite numbers'
        raise ValueError(text.format(*values))
    twist = Twist()
    # float(): the message's C code reads the memory of an int as if it were a float.
    twist.linear.x, twist.linear.y, twist.linear.z = (float(value) for value in values[:3])
    twist.angular.y, twist.angular.z = (float(value) for value in values[3:])
    return twist


def command_message(command: Command, header: Header, stamped: bool) -> Twist | TwistStamped:
    """Return the message for a command. Raises ValueError unless it is finite."""
    twist = twist_of(command)
    return TwistStamped(header=header, twist=twist) if stamped else twist


def seen_from_camera(azimuth: float, elevation: float, pitch: float) -> tuple[float, float]:
    """Return a direction relative to a camera that looks down by `pitch` from its mount, rad.

    azimuth, elevation: the direction relative to the mount.
    """
    x = math.cos(elevation) * math.cos(azimuth)
    y = math.cos(elevation) * math.sin(azimuth)
    z = math.sin(elevation)
    ahead = math.cos(pitch) * x - math.sin(pitch) * z
    up = math.sin(pitch) * x + math.cos(pitch) * z
    return math.atan2(y, ahead), math.atan2(up, math.hypot(ahead, y))


def bearing_message(bearing: Bearing, header: Header, pitch: float) -> PoseWithCovarianceStamped:
    """Return a bearing as a pose at the camera whose x axis points at the target.

    Its yaw is the azimuth and its pitch minus the elevation, with the covariance of both angles.
    The position is 0, the camera's position, not the target's.
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
    """Return the target's pose, `distance` m from the camera; its x axis points away from it.

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


def covariant_pose_message(
    bearing: Bearing, distance: Range, header: Header, pitch: float
) -> PoseWithCovarianceStamped:
    """Return the target's pose with covariance, in the frame of the images.

    header: header of the track. A frame with `_optical` in its name has z forward, x right, y down,
    and the pose's z axis points away from the camera; any other frame has x forward, as in
    `pose_message`. The covariance is that of bearing and range of a point target.
    """
    (azimuth, elevation), angular = _in_camera_frame(bearing, pitch)
    pose = pose_message(bearing, distance.range, header, pitch).pose
    position = np.array((pose.position.x, pose.position.y, pose.position.z))
    ca, sa, ce, se = (f(a) for a in (azimuth, elevation) for f in (math.cos, math.sin))
    across = distance.range * np.array(((-ce * sa, -se * ca), (ce * ca, -se * sa), (0.0, ce)))
    away = position / distance.range
    covariance = across @ angular @ across.T + np.outer(away, away) * distance.deviation**2
    turn = np.array((pose.orientation.x, pose.orientation.y, pose.orientation.z))
    if '_optical' in header.frame_id:
        position, turn = BODY_TO_OPTICAL @ position, BODY_TO_OPTICAL @ turn
        covariance = BODY_TO_OPTICAL @ covariance @ BODY_TO_OPTICAL.T
    message = PoseWithCovarianceStamped(header=header)
    place, orientation = message.pose.pose.position, message.pose.pose.orientation
    place.x, place.y, place.z = position.tolist()
    orientation.x, orientation.y, orientation.z = turn.tolist()
    orientation.w = pose.orientation.w
    full = np.zeros((6, 6))
    full[:3, :3] = covariance
    message.pose.covariance = full.ravel()
    return message


def transform_message(pose: PoseStamped, child: str) -> TFMessage:
    """Return a pose as the transform from its frame to the frame `child`."""
    transform = TransformStamped(header=pose.header, child_frame_id=child)
    place, position = transform.transform.translation, pose.pose.position
    place.x, place.y, place.z = position.x, position.y, position.z
    transform.transform.rotation = pose.pose.orientation
    return TFMessage(transforms=[transform])


def marker_message(pose: PoseStamped, size: tuple[float, float], text: str) -> MarkerArray:
    """Return a target as a translucent ellipsoid with a text above it, for RViz and Foxglove.

    size: width and height, m. Both disappear after `MARKER_LIFETIME` without new markers.
    """
    body = Marker(header=pose.header, ns='target', id=0, type=Marker.SPHERE)
    label = Marker(header=pose.header, ns='target', id=1, type=Marker.TEXT_VIEW_FACING, text=text)
    width, height = size
    for marker in (body, label):
        place, position = marker.pose.position, pose.pose.position
        place.x, place.y, place.z = position.x, position.y, position.z
        marker.pose.orientation.w = 1.0
        marker.lifetime.nanosec = int(MARKER_LIFETIME * 1e9)
        marker.color = ColorRGBA(r=1.0, g=0.5, b=0.0, a=0.5)
    body.scale.x, body.scale.y, body.scale.z = width, width, height
    label.pose.position.z += height / 2 + LABEL_HEIGHT
    label.scale.z = LABEL_HEIGHT
    label.color.a = 1.0
    return MarkerArray(markers=[body, label])


def _in_camera_frame(
    bearing: Bearing, pitch: float
) -> tuple[tuple[float, float], NDArray[np.float64]]:
    """Return azimuth and elevation relative to the camera, and their covariance (2, 2)."""
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
    """Return the rotation by the azimuth about z, then by minus the elevation about the new y."""
    yaw, nod = azimuth / 2, -elevation / 2
    return Quaternion(
        x=-math.sin(yaw) * math.sin(nod),
        y=math.cos(yaw) * math.sin(nod),
        z=math.sin(yaw) * math.cos(nod),
        w=math.cos(yaw) * math.cos(nod),
    )
