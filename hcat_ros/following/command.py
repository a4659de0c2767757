# SPDX-License-Identifier: Apache-2.0
"""Commands to the platform."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """Velocities in the body frame (REP-103), as a Twist takes them."""

    forward: float = 0.0
    """linear.x, m/s."""
    left: float = 0.0
    """linear.y, m/s."""
    up: float = 0.0
    """linear.z, m/s."""
    yaw_rate: float = 0.0
    """angular.z, rad/s, positive to the left."""
    pitch_rate: float = 0.0
    """angular.y, rad/s, positive DOWN: a right-handed rotation about the axis to the left."""
    allowed: float = 0.0
    """Share of the speed that safety allows, 0..1."""
    reason: str = ''
    """Why `allowed` is less than 1; empty at 1."""

    @property
    def is_zero(self) -> bool:
        """Whether all velocities are zero."""
        return not (self.forward or self.left or self.up or self.yaw_rate or self.pitch_rate)
