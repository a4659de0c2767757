# SPDX-License-Identifier: Apache-2.0
"""One axis of motion: a controller and its limits."""

from __future__ import annotations

from hcat_ros.following.config import AxisConfig
from hcat_ros.following.limits import Limiter
from hcat_ros.following.pid import Pid


class Axis:
    """Computes a speed from an error (rad or m); a positive error gives a positive speed."""

    def __init__(
        self, config: AxisConfig, derivative_smoothing: float, max_reverse: float | None = None
    ) -> None:
        self._pid = Pid(config, derivative_smoothing)
        self._limiter = Limiter(*self._limits(config, max_reverse))

    def configure(
        self, config: AxisConfig, derivative_smoothing: float, max_reverse: float | None = None
    ) -> None:
        """Change gains and limits while moving."""
        self._pid.config, self._pid.derivative_smoothing = config, derivative_smoothing
        self._limiter.set_limits(*self._limits(config, max_reverse))

    def drive(self, error: float, motion: float, dt: float, share: float) -> float:
        """Return the speed after `dt` s.

        `motion` is the target's own speed, fed forward; `share` (0..1) scales the result.
        """
        wanted = self._pid.update(0.0, -error, dt, motion)
        # Limit first, then scale, so that a share of 0.5 also halves the top speed.
        limiter = self._limiter
        speed = limiter.step(share * min(max(wanted, limiter.low), limiter.high), dt)
        self._pid.carried_out(speed)
        return speed

    def approach(self, speed: float, dt: float) -> float:
        """Return the speed after `dt` s on the way to `speed`, without the controller."""
        self._pid.reset()
        return self._limiter.step(speed, dt)

    def stop(self) -> None:
        """Set the speed to zero at once and reset the controller."""
        self._pid.reset()
        self._limiter.stop()

    @staticmethod
    def _limits(config: AxisConfig, max_reverse: float | None) -> tuple[float, float, float, float]:
        back = config.max_speed if max_reverse is None else max_reverse
        low = -back if config.max_speed > 0 else 0.0
        return low, config.max_speed, config.max_acceleration, config.max_deceleration
