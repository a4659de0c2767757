# SPDX-License-Identifier: Apache-2.0
"""Limits of speed and acceleration."""

from __future__ import annotations

import math


class Limiter:
    """The speed of one axis, which changes no faster than it may."""

    def __init__(
        self, low: float, high: float, max_acceleration: float, max_deceleration: float
    ) -> None:
        self.speed = 0.0
        self.set_limits(low, high, max_acceleration, max_deceleration)

    def set_limits(
        self, low: float, high: float, max_acceleration: float, max_deceleration: float
    ) -> None:
        """Set the speeds low <= 0 <= high; a speed that is beyond them is cut at once."""
        self.low, self.high = low, high
        self.max_acceleration, self.max_deceleration = max_acceleration, max_deceleration
        self.speed = self._within(self.speed)

    def step(self, wanted: float, dt: float) -> float:
        """Return the speed `dt` s on, on the way to `wanted`; 0 is wanted by what is not finite."""
        wanted = self._within(wanted) if math.isfinite(wanted) else 0.0
        if self.speed * wanted < 0 or abs(wanted) < abs(self.speed):
            # Slower first, through standstill where the direction changes.
            slowest = wanted if self.speed * wanted > 0 else 0.0
            needed = abs(self.speed - slowest) / self.max_deceleration
            if needed > dt:
                self.speed = _towards(self.speed, slowest, self.max_deceleration * dt)
                return self.speed
            self.speed, dt = slowest, dt - needed
        self.speed = self._within(_towards(self.speed, wanted, self.max_acceleration * dt))
        return self.speed

    def stop(self) -> None:
        """Be at standstill now, whatever the limits."""
        self.speed = 0.0

    def _within(self, speed: float) -> float:
        return min(max(speed, self.low), self.high)


def _towards(value: float, target: float, step: float) -> float:
    return target if abs(target - value) <= step else value + math.copysign(step, target - value)
