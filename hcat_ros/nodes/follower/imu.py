# SPDX-License-Identifier: Apache-2.0
"""Reads the platform's rotation rates from an inertial sensor."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from hcat_ros.message_data import nanoseconds

FASTEST = 50.0
"""Largest plausible rotation rate, rad/s: no platform with a camera turns faster."""


class Turning(NamedTuple):
    """Rotation rates at a time, with the signs of REP-103."""

    time: float
    """Seconds, on the clock of the image stamps."""
    yaw_rate: float
    """rad/s, positive to the left."""
    pitch_rate: float
    """rad/s, positive down."""


def turning_of(message: Any, base_frame: str) -> Turning:
    """Return the rotation rates of a sensor_msgs/Imu.

    Raises ValueError for a sensor without rates (REP-145: its first covariance is -1), for
    impossible rates, and for rates in another frame than the platform's, as none are rotated here.
    """
    frame = message.header.frame_id.lstrip('/')
    if frame != base_frame.lstrip('/'):
        raise ValueError(
            f"its frame is '{frame[:100]}', expected '{base_frame}': transform the message "
            '(imu_transformer), or set base_frame'
        )
    if message.angular_velocity_covariance[0] == -1:
        raise ValueError('its sensor has no angular velocity (covariance -1)')
    velocity = message.angular_velocity
    rates = (velocity.x, velocity.y, velocity.z)
    if not all(math.isfinite(rate) and abs(rate) <= FASTEST for rate in rates):
        listed = ', '.join(f'{rate:g}' for rate in rates)
        raise ValueError(f'angular velocity {listed} rad/s: expected at most {FASTEST:g}')
    return Turning(nanoseconds(message.header.stamp) / 1e9, velocity.z, velocity.y)
