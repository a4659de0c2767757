# SPDX-License-Identifier: Apache-2.0
"""Builds the messages of a camera component that tracks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hcat_ros.boxes import Box
from hcat_ros.mavlink.dialect import mavlink
from hcat_ros.mavlink.requests import ImageSize, rectangle_of_box

IMAGE_STATUS = mavlink.MAVLINK_MSG_ID_CAMERA_TRACKING_IMAGE_STATUS
TEXT_CHUNK = 50
"""Bytes of one STATUSTEXT."""
LONGEST_URI = 160
"""Bytes of a stream's address in VIDEO_STREAM_INFORMATION."""
STREAM_TYPES = {
    'rtsp': mavlink.VIDEO_STREAM_TYPE_RTSP,
    'udp': mavlink.VIDEO_STREAM_TYPE_RTPUDP,
    'tcp': mavlink.VIDEO_STREAM_TYPE_TCP_MPEG,
    'http': mavlink.VIDEO_STREAM_TYPE_WHEP,
    'https': mavlink.VIDEO_STREAM_TYPE_WHEP,
}
"""Types of a stream by the scheme of its address."""


@dataclass(frozen=True)
class CameraIdentity:
    """The camera as ground stations see it. Raises ValueError for what MAVLink cannot hold."""

    system: int = 1
    """System id of the vehicle."""
    component: int = mavlink.MAV_COMP_ID_CAMERA
    model: str = ''
    """Name of the camera in ground stations, cut to 32 bytes."""
    version: tuple[int, int, int] = (0, 0, 0)
    video_uri: str = ''
    """Address of the video for ground stations, such as rtsp://HOST:8554/camera; empty: none is
    sent to them."""
    horizontal_fov: float = 0.0
    """Field of view from side to side, rad; 0: unknown."""
    status_rate: float = 5.0
    """Statuses a second, unless a ground station asks for another rate."""
    point_size: float = 0.1
    """Side of the box around a tapped point, as a share of the image's height."""

    def __post_init__(self) -> None:
        size = len(self.video_uri.encode())
        if size > LONGEST_URI:
            raise ValueError(f'video_uri has {size} bytes: expected at most {LONGEST_URI}')
        scheme = self.video_uri.partition('://')[0]
        if self.video_uri and scheme not in STREAM_TYPES:
            known = ', '.join(STREAM_TYPES)
            raise ValueError(f"video_uri '{self.video_uri[:80]}': expected one of {known}://...")


def heartbeat(has_images: bool) -> Any:
    """Return the heartbeat: the camera is on standby until images come."""
    state = mavlink.MAV_STATE_ACTIVE if has_images else mavlink.MAV_STATE_STANDBY
    return mavlink.MAVLink_heartbeat_message(
        mavlink.MAV_TYPE_CAMERA, mavlink.MAV_AUTOPILOT_INVALID, 0, 0, state, 3
    )


def information(identity: CameraIdentity, size: ImageSize, milliseconds: int) -> Any:
    """Return CAMERA_INFORMATION: tracking by point and by rectangle."""
    flags = mavlink.CAMERA_CAP_FLAGS_HAS_TRACKING_POINT
    flags |= mavlink.CAMERA_CAP_FLAGS_HAS_TRACKING_RECTANGLE
    if identity.video_uri:
        flags |= mavlink.CAMERA_CAP_FLAGS_HAS_VIDEO_STREAM
    major, minor, patch = (min(part, 255) for part in identity.version)
    return mavlink.MAVLink_camera_information_message(
        time_boot_ms=milliseconds,
        vendor_name=_pad('hcat_ros', 32),
        model_name=_pad(identity.model, 32),
        firmware_version=patch << 16 | minor << 8 | major,
        focal_length=math.nan,
        sensor_size_h=math.nan,
        sensor_size_v=math.nan,
        resolution_h=min(size.width, 65535),
        resolution_v=min(size.height, 65535),
        lens_id=0,
        flags=flags,
        cam_definition_version=0,
        cam_definition_uri=b'',
    )


def settings(identity: CameraIdentity, size: ImageSize, milliseconds: int) -> Any:
    """Return CAMERA_SETTINGS: the mode is video; zoom and focus are unknown."""
    return mavlink.MAVLink_camera_settings_message(
        milliseconds, mavlink.CAMERA_MODE_VIDEO, math.nan, math.nan
    )


def capture_status(identity: CameraIdentity, size: ImageSize, milliseconds: int) -> Any:
    """Return CAMERA_CAPTURE_STATUS: the camera records nothing."""
    return mavlink.MAVLink_camera_capture_status_message(milliseconds, 0, 0, 0.0, 0, 0.0, 0)


def storage(identity: CameraIdentity, size: ImageSize, milliseconds: int) -> Any:
    """Return STORAGE_INFORMATION: the camera has no storage."""
    nothing = (0.0,) * 5
    return mavlink.MAVLink_storage_information_message(
        milliseconds, 0, 0, mavlink.STORAGE_STATUS_NOT_SUPPORTED, *nothing
    )


def stream_information(identity: CameraIdentity, size: ImageSize) -> Any:
    """Return VIDEO_STREAM_INFORMATION of the one stream."""
    return mavlink.MAVLink_video_stream_information_message(
        stream_id=1,
        count=1,
        type=STREAM_TYPES[identity.video_uri.partition('://')[0]],
        flags=mavlink.VIDEO_STREAM_STATUS_FLAGS_RUNNING,
        framerate=0.0,
        resolution_h=min(size.width, 65535),
        resolution_v=min(size.height, 65535),
        bitrate=0,
        rotation=0,
        hfov=round(math.degrees(identity.horizontal_fov)),
        name=b'tracked camera',
        uri=identity.video_uri.encode(),
    )


def stream_status(identity: CameraIdentity, size: ImageSize) -> Any:
    """Return VIDEO_STREAM_STATUS of the one stream."""
    return mavlink.MAVLink_video_stream_status_message(
        stream_id=1,
        flags=mavlink.VIDEO_STREAM_STATUS_FLAGS_RUNNING,
        framerate=0.0,
        resolution_h=min(size.width, 65535),
        resolution_v=min(size.height, 65535),
        bitrate=0,
        rotation=0,
        hfov=round(math.degrees(identity.horizontal_fov)),
    )


def image_status(target: Box | None, is_lost: bool, size: ImageSize | None) -> Any:
    """Return CAMERA_TRACKING_IMAGE_STATUS.

    A lost target is reported as COASTING without a rectangle, because its position is unknown.
    """
    status, mode = mavlink.CAMERA_TRACKING_STATUS_FLAGS_IDLE, mavlink.CAMERA_TRACKING_MODE_NONE
    corners = (math.nan,) * 4
    if target is not None and size is not None:
        mode = mavlink.CAMERA_TRACKING_MODE_RECTANGLE
        status = mavlink.CAMERA_TRACKING_STATUS_FLAGS_COASTING
        if not is_lost:
            status = mavlink.CAMERA_TRACKING_STATUS_FLAGS_ACTIVE
            corners = rectangle_of_box(target, size)
    unknown = (math.nan,) * 3  # point and radius
    return mavlink.MAVLink_camera_tracking_image_status_message(
        status, mode, mavlink.CAMERA_TRACKING_TARGET_DATA_IN_STATUS, *unknown, *corners
    )


def texts(text: str, number: int) -> list[Any]:
    """Return an operator's text as STATUSTEXT chunks of 50 bytes that share the id `number`."""
    content = text.encode(errors='replace')
    parts = [content[start : start + TEXT_CHUNK] for start in range(0, len(content), TEXT_CHUNK)]
    number = number if len(parts) > 1 else 0
    return [
        mavlink.MAVLink_statustext_message(mavlink.MAV_SEVERITY_WARNING, part, number, chunk)
        for chunk, part in enumerate(parts)
    ]


def _pad(text: str, length: int) -> list[int]:
    content = text.encode(errors='replace')[:length]
    return list(content.ljust(length, b'\0'))


OF_THE_CAMERA = {
    mavlink.MAVLINK_MSG_ID_CAMERA_INFORMATION: information,
    mavlink.MAVLINK_MSG_ID_CAMERA_SETTINGS: settings,
    mavlink.MAVLINK_MSG_ID_CAMERA_CAPTURE_STATUS: capture_status,
    mavlink.MAVLINK_MSG_ID_STORAGE_INFORMATION: storage,
}
"""Functions that build the messages that can be requested, by message id."""
OF_THE_STREAM = {
    mavlink.MAVLINK_MSG_ID_VIDEO_STREAM_INFORMATION: stream_information,
    mavlink.MAVLINK_MSG_ID_VIDEO_STREAM_STATUS: stream_status,
}
"""Functions that build the further messages of a camera with a video stream, by message id."""
