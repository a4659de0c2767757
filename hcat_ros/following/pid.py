# SPDX-License-Identifier: Apache-2.0
"""PID controller whose integral stops growing while the output is limited."""

from __future__ import annotations

import math

from hcat_ros.following.config import AxisConfig


class Pid:
    """u = kp e + integral - kd d/dt(low-passed measurement) + feed-forward.

    The integral grows by ki e dt within +-`integral_limit`. After each `update`, pass the output
    that the limits have left to `carried_out`: the integral does not grow further into a limit
    (conditional integration, which also covers acceleration limits and safety).
    """

    def __init__(self, config: AxisConfig, derivative_smoothing: float) -> None:
        self.config = config
        self.derivative_smoothing = derivative_smoothing
        self.integral = 0.0
        self._integral_before = 0.0
        self._output = 0.0
        self._measured: float | None = None
        self._derivative = 0.0

    def reset(self) -> None:
        """Forget integral and derivative."""
        self.integral = self._integral_before = self._output = self._derivative = 0.0
        self._measured = None

    def update(
        self, setpoint: float, measured: float, dt: float, feed_forward: float = 0.0
    ) -> float:
        """Return the output after `dt` s; `feed_forward` is in the output's unit."""
        config = self.config
        error = without_dead_band(setpoint - measured, config.dead_band)
        if dt > 0 and self._measured is not None:
            # Derivative of the measurement, not of the error: a new setpoint gives no kick.
            raw = (measured - self._measured) / dt
            self._derivative += dt / (dt + self.derivative_smoothing) * (raw - self._derivative)
        self._measured = measured
        self._integral_before = self.integral
        limit = config.integral_limit
        self.integral = min(max(self.integral + config.ki * error * dt, -limit), limit)
        self._output = (
            config.kp * error
            + self.integral
            - config.kd * self._derivative
            + config.feed_forward * feed_forward
        )
        return self._output

    def carried_out(self, output: float) -> None:
        """Undo the last step of the integral if it pushes further into a limit."""
        cut = self._output - output
        if cut * (self.integral - self._integral_before) > 0:
            self.integral = self._integral_before


def without_dead_band(error: float, dead_band: float) -> float:
    """Return 0 within the dead band, and beyond it the excess, without a jump at its edge."""
    return math.copysign(max(abs(error) - dead_band, 0.0), error)
