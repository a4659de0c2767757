# SPDX-License-Identifier: Apache-2.0
"""Simulated platforms with limits, lags, a delay of commands and the watchdog of a driver."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from hcat_ros.simulation.camera import Pose

TICK = 0.005
"""Longest step of integration [s]."""
GROUND_CLEARANCE = 0.3
"""Smallest height of a drone above the ground, m."""


class PlatformCommand(NamedTuple):
    """A velocity command in the body frame (forward, left, up): m/s and rad/s.

    yaw_rate is positive to the left, pitch_rate upwards.
    """

    forward: float = 0.0
    left: float = 0.0
    up: float = 0.0
    yaw_rate: float = 0.0
    pitch_rate: float = 0.0


STOP = PlatformCommand()


class SimulatedAxis(NamedTuple):
    """Limits of one axis. A speed of 0 means that the platform has no such axis."""

    speed: float = 0.0
    """Largest speed in either direction, m/s or rad/s."""
    acceleration: float = 1.0
    """Largest acceleration, m/s^2 or rad/s^2."""
    lag: float = 0.1
    """Time constant of the first-order lag [s]."""

    def next(self, value: float, wanted: float, dt: float) -> float:
        """Return the velocity `dt` seconds later."""
        if self.speed == 0:
            return 0.0
        wanted = max(-self.speed, min(self.speed, wanted))
        # The exact response of the lag over the step, so that a long step does not overshoot.
        change = (wanted - value) * -math.expm1(-dt / self.lag)
        most = self.acceleration * dt
        return value + max(-most, min(most, change))


ABSENT = SimulatedAxis()


@dataclass(frozen=True)
class PlatformModel:
    """Limits and properties of a kind of platform."""

    forward: SimulatedAxis = ABSENT
    left: SimulatedAxis = ABSENT
    up: SimulatedAxis = ABSENT
    yaw: SimulatedAxis = ABSENT
    pitch: SimulatedAxis = ABSENT
    command_delay: float = 0.04
    """Delay from the arrival of a command to its effect, s."""
    watchdog: float = 0.5
    """Time after which a command is stale and the driver stops the platform, s."""
    camera_height: float = 1.0
    """Height of the camera above the ground at the start [m]."""
    lowest_pitch: float = 0.0
    highest_pitch: float = 0.0
    """Limits of the gimbal's pitch [rad]."""

    @property
    def axes(self) -> tuple[SimulatedAxis, ...]:
        """Axes in the order of `PlatformCommand`."""
        return self.forward, self.left, self.up, self.yaw, self.pitch


PLATFORMS = {
    # A robot of the size of a TurtleBot 4 or Husky.
    'ground': PlatformModel(
        forward=SimulatedAxis(1.5, 2.0, 0.15), yaw=SimulatedAxis(1.5, 5.0, 0.1), camera_height=0.6
    ),
    # A small quadrotor in velocity mode; the camera is kept level by its gimbal.
    'drone': PlatformModel(
        forward=SimulatedAxis(6.0, 4.0, 0.3),
        left=SimulatedAxis(4.0, 4.0, 0.3),
        up=SimulatedAxis(2.0, 3.0, 0.3),
        yaw=SimulatedAxis(1.5, 4.0, 0.15),
        command_delay=0.06,
        camera_height=3.0,
    ),
    'gimbal': PlatformModel(
        yaw=SimulatedAxis(2.0, 12.0, 0.05),
        pitch=SimulatedAxis(1.5, 12.0, 0.05),
        command_delay=0.02,
        camera_height=1.5,
        lowest_pitch=math.radians(-45),
        highest_pitch=math.radians(60),
    ),
}


class Platform:
    """A moving platform, which takes commands and has a pose. Times are simulated seconds."""

    def __init__(self, model: PlatformModel) -> None:
        self.model = model
        self.pose = Pose(0.0, 0.0, model.camera_height, 0.0, 0.0)
        """Pose of the camera."""
        self.velocity = STOP
        """Velocity of the platform, in the form of a command."""
        self.time = 0.0
        self._under_way: deque[tuple[float, PlatformCommand]] = deque()
        self._command = STOP
        self._command_time = -math.inf

    def command(self, command: PlatformCommand) -> None:
        """Accept a command, which acts after the delay. Raises ValueError if it is not finite."""
        command = PlatformCommand(*command)
        if not all(math.isfinite(value) for value in command):
            raise ValueError(f'{command} is not finite')
        self._under_way.append((self.time + self.model.command_delay, command))

    def advance(self, dt: float) -> None:
        """Move the platform on by `dt` seconds."""
        ticks = max(1, math.ceil(dt / TICK - 1e-9))
        start = self.time
        for tick in range(1, ticks + 1):
            self._tick(start + dt * tick / ticks)

    def pose_before(self, seconds: float) -> Pose:
        """Return the pose some seconds ago, extrapolated with the present velocity."""
        return self._moved(self.velocity, -seconds)

    def _moved(self, by: PlatformCommand, dt: float) -> Pose:
        pose = self.pose
        heading = pose.yaw + by.yaw_rate * dt / 2
        cos, sin = math.cos(heading), math.sin(heading)
        return Pose(
            pose.x + (by.forward * cos - by.left * sin) * dt,
            pose.y + (by.forward * sin + by.left * cos) * dt,
            pose.z + by.up * dt,
            math.remainder(pose.yaw + by.yaw_rate * dt, 2 * math.pi),
            pose.pitch + by.pitch_rate * dt,
        )

    def _tick(self, until: float) -> None:
        dt = until - self.time
        while self._under_way and self._under_way[0][0] <= self.time + 1e-9:
            self._command_time, self._command = self._under_way.popleft()
        stale = self.time - self._command_time > self.model.watchdog
        wanted = STOP if stale else self._command
        before = self.velocity
        after = PlatformCommand(
            *(axis.next(now, want, dt) for axis, now, want in zip(self.model.axes, before, wanted))
        )
        mean = PlatformCommand(*((a + b) / 2 for a, b in zip(before, after)))
        model, pose = self.model, self._moved(mean, dt)
        if model.up.speed and pose.z < GROUND_CLEARANCE:
            pose = pose._replace(z=GROUND_CLEARANCE)
            after = after._replace(up=max(0.0, after.up))
        pitch = max(model.lowest_pitch, min(model.highest_pitch, pose.pitch))
        if pitch != pose.pitch:
            pose, after = pose._replace(pitch=pitch), after._replace(pitch_rate=0.0)
        self.pose, self.velocity, self.time = pose, after, until
