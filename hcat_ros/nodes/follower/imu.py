# SPDX-License-Identifier: Apache-2.0
"""Reads the platform's rates of turning from an inertial sensor."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from hcat_ros.message_data import nanoseconds

FASTEST = 50.0
"""rad/s; no platform that carries a camera turns faster."""


class Turning(NamedTuple):
    """Rates of turning at a time, REP-103."""

    time: float
    """Seconds, of the clock that image stamps are on."""
    yaw_rate: float
    """rad/s, positive to the left."""
    pitch_rate: float
    """rad/s, positive down."""


def turning_of(message: Any, base_frame: str) -> Turning:
    """Return the turning of a sensor_msgs/Imu.

    Raises ValueError for a sensor without rates (REP-145: its first covariance is -1), for rates
    that cannot be, and for those in another frame than the platform's: they are not rotated here.
    """
    frame = message.header.frame_id.lstrip('/')
    if frame != base_frame.lstrip('/'):
        raise ValueError(
            f"it is of frame '{frame[:100]}', expected '{base_frame}': rotate it "
            '(imu_transformer), or set base_frame'
        )
    if message.angular_velocity_covariance[0] == -1:
        raise ValueError('its sensor has no angular velocity (covariance -1)')
    velocity = message.angular_velocity
    rates = (velocity.x, velocity.y, velocity.z)
    if not all(math.isfinite(rate) and abs(rate) <= FASTEST for rate in rates):
        told = ', '.join(f'{rate:g}' for rate in rates)
        raise ValueError(f'angular velocity {told} rad/s: expected at most {FASTEST:g}')
    return Turning(nanoseconds(message.header.stamp) / 1e9, velocity.z, velocity.y)
