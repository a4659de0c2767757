# SPDX-License-Identifier: Apache-2.0
"""Estimates the camera's own turning and travel from commands and measured rates."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.following.command import Command

MEMORY = 5.0
"""Seconds of history kept; must be no less than the largest max_latency."""

Array = NDArray[np.float64]


class _Segment(NamedTuple):
    """A change of speeds (yaw_rate, pitch_rate, forward, left, up) that one command causes."""

    start: float
    commanded: Array
    at_start: Array


class EgoMotion:
    """Estimates how the platform, and the camera on it, has turned and travelled.

    The platform starts to follow a commanded speed after `delay` s and approaches it exponentially
    with the time constant `lag`, s. Turning comes from measured rates for the time that they cover
    and otherwise from commands; travel always comes from commands. Yaw is positive to the left,
    pitch positive DOWN.
    """

    def __init__(self, delay: float, lag: float) -> None:
        self.delay, self.lag = delay, lag
        self._segments: list[_Segment] = []
        self._times: list[float] = []
        self._rates: list[tuple[float, float]] = []

    def clear(self) -> None:
        """Forget everything; the platform is assumed to stand still."""
        self._segments.clear()
        self._times.clear()
        self._rates.clear()

    def record_command(self, time: float, command: Command) -> None:
        """Record the command that was sent at a time."""
        speeds = np.array(
            [command.yaw_rate, command.pitch_rate, command.forward, command.left, command.up]
        )
        start = time + self.delay
        at_start: Array = np.zeros(5)
        if self._segments:
            last = self._segments[-1]
            start = max(start, last.start)  # `delay` may have been reduced
            at_start = self._speeds(last, start)
        self._segments.append(_Segment(start, speeds, at_start))
        while len(self._segments) > 1 and self._segments[1].start < time - MEMORY:
            self._segments.pop(0)

    def record_turning(self, time: float, yaw_rate: float, pitch_rate: float) -> None:
        """Record measured rates, rad/s, left and DOWN; rates no newer than the last are ignored."""
        if self._times and time <= self._times[-1]:
            return
        self._times.append(time)
        self._rates.append((yaw_rate, pitch_rate))
        while len(self._times) > 1 and self._times[1] < time - MEMORY:
            self._times.pop(0)
            self._rates.pop(0)

    def rotation(self, begin: float, end: float) -> Array:
        """Return R (3, 3), the mount's attitude at `end` relative to its attitude at `begin`.

        A direction d in the frame at `begin` is R^T d in the frame at `end`.
        """
        if end < begin:
            return self.rotation(end, begin).T
        total = np.eye(3)
        if not self._times:
            return self._commanded_rotation(total, begin, end)
        first, last = self._times[0], self._times[-1]
        total = self._commanded_rotation(total, begin, min(end, first))
        total = self._measured_rotation(total, max(begin, first), min(end, last))
        return self._commanded_rotation(total, max(begin, last), end)

    def travel(self, begin: float, end: float) -> Array:
        """Return the travel forward, left and up (3,) between two times, m, as the commands imply.

        Speeds are integrated in the body frame; turning in between is neglected.
        """
        if end < begin:
            return -self.travel(end, begin)
        distances: Array = np.zeros(5)
        for part in self._parts(begin, end):
            distances += part
        return distances[2:]

    def _commanded_rotation(self, total: Array, begin: float, end: float) -> Array:
        for part in self._parts(begin, end):
            total = total @ turn(float(part[0]), float(part[1]))
        return total

    def _measured_rotation(self, total: Array, begin: float, end: float) -> Array:
        if end <= begin:
            return total
        inside = self._times[bisect_right(self._times, begin) : bisect_right(self._times, end)]
        times = np.array([begin, *(time for time in inside if time < end), end])
        rates = np.array(self._rates)
        yaw, pitch = (np.interp(times, self._times, rates[:, axis]) for axis in (0, 1))
        for step, yaw_rate, pitch_rate in zip(
            np.diff(times), (yaw[1:] + yaw[:-1]) / 2, (pitch[1:] + pitch[:-1]) / 2
        ):
            total = total @ turn(float(step * yaw_rate), float(step * pitch_rate))
        return total

    def _parts(self, begin: float, end: float) -> list[Array]:
        """Return the integral of the speeds over each segment between two times, in order."""
        parts: list[Array] = []
        until = end
        for segment in reversed(self._segments):
            since = max(begin, segment.start)
            if until > since:
                parts.append(self._integral(segment, since, until))
                until = since
            if segment.start <= begin:
                break
        return parts[::-1]

    def _remaining(self, segment: _Segment, time: float) -> float:
        """Return the share of a segment's change of speed that is still to come at a time."""
        return math.exp(-(time - segment.start) / self.lag) if self.lag > 0 else 0.0

    def _speeds(self, segment: _Segment, time: float) -> Array:
        change = segment.at_start - segment.commanded
        return segment.commanded + change * self._remaining(segment, time)

    def _integral(self, segment: _Segment, begin: float, end: float) -> Array:
        change = segment.at_start - segment.commanded
        lagging = self.lag * (self._remaining(segment, begin) - self._remaining(segment, end))
        return segment.commanded * (end - begin) + change * lagging


def turn(yaw: float, pitch: float) -> Array:
    """Return the rotation (3, 3) about the vector (0, pitch, yaw), rad: Rodrigues' formula.

    Positive yaw turns to the left, positive pitch down.
    """
    angle = math.hypot(yaw, pitch)
    cross: Array = np.array([[0.0, -yaw, pitch], [yaw, 0.0, 0.0], [-pitch, 0.0, 0.0]])
    if angle < 1e-9:
        rotation: Array = np.eye(3) + cross
        return rotation
    square: Array = cross @ cross
    return np.eye(3) + math.sin(angle) / angle * cross + (1 - math.cos(angle)) / angle**2 * square
