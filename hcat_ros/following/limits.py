# SPDX-License-Identifier: Apache-2.0
"""Limits of speed and acceleration."""

from __future__ import annotations

import math


class Limiter:
    """Limits the speed, acceleration and deceleration of one axis."""

    def __init__(
        self, low: float, high: float, max_acceleration: float, max_deceleration: float
    ) -> None:
        self.speed = 0.0
        self.set_limits(low, high, max_acceleration, max_deceleration)

    def set_limits(
        self, low: float, high: float, max_acceleration: float, max_deceleration: float
    ) -> None:
        """Set the limits, low <= 0 <= high; a present speed beyond them is clipped at once."""
        self.low, self.high = low, high
        self.max_acceleration, self.max_deceleration = max_acceleration, max_deceleration
        self.speed = self._within(self.speed)

    def step(self, wanted: float, dt: float) -> float:
        """Return the speed after `dt` s on the way to `wanted`. Non-finite requests count as 0."""
        wanted = self._within(wanted) if math.isfinite(wanted) else 0.0
        if self.speed * wanted < 0 or abs(wanted) < abs(self.speed):
            # Decelerate first, to standstill if the direction changes.
            slowest = wanted if self.speed * wanted > 0 else 0.0
            needed = abs(self.speed - slowest) / self.max_deceleration
            if needed > dt:
                self.speed = _towards(self.speed, slowest, self.max_deceleration * dt)
                return self.speed
            self.speed, dt = slowest, dt - needed
        self.speed = self._within(_towards(self.speed, wanted, self.max_acceleration * dt))
        return self.speed

    def stop(self) -> None:
        """Set the speed to zero at once, whatever the deceleration limit."""
        self.speed = 0.0

    def _within(self, speed: float) -> float:
        return min(max(speed, self.low), self.high)


def _towards(value: float, target: float, step: float) -> float:
    return target if abs(target - value) <= step else value + math.copysign(step, target - value)
