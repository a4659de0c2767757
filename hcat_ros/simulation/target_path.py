# SPDX-License-Identifier: Apache-2.0
"""Paths of targets: scripted manoeuvres with a random seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PATHS = ('straight', 'zigzag', 'circle', 'stop_and_go', 'occlusion', 'out_of_view')
TICK = 0.01
"""Time step of a path [s]."""
RUN_UP = 2.0
"""Time before a special manoeuvre in which the follower can settle, s."""
DASH_ANGLE = math.radians(110)
"""Angle around the camera by which a target dashes out of view, rad."""
RETURN_RATE = 0.4
"""Rate at which the target comes back, as a share of the platform's top yaw rate."""
SHARPEST_TURN = 4.0
"""Largest turning rate of a target, rad/s."""
FLATTENED = 0.15
"""Height of a circle that a target flies around a fixed camera, as a share of its width."""
LOWEST, HIGHEST = math.radians(2), math.radians(35)
"""Lowest and highest elevation of a target that flies around a fixed camera, rad."""
LEVELLING = 3.0
"""Deceleration of the elevation before these limits, rad/s^2."""


@dataclass(frozen=True)
class Course:
    """Settings of a path."""

    path: str
    speed: float
    """Speed of the target, m/s."""
    start: tuple[float, float, float]
    """Start of the target's foot [m]."""
    wave: float = 0.0
    """Amplitude by which the height of a flying target rises and falls, m."""
    fixed_camera: bool = False
    """Whether the target flies around the camera at a constant distance instead of away from it."""
    camera_height: float = 0.0
    yaw_rate: float = 1.5
    """Top yaw rate of the platform [rad/s]; a target on the path 'out_of_view' is faster."""


class TargetPath:
    """A target on its path. The same seed gives the same path, whatever the steps of `advance`."""

    def __init__(self, course: Course, rng: np.random.Generator) -> None:
        if course.path not in PATHS:
            raise ValueError(f"path '{course.path}': expected one of {', '.join(PATHS)}")
        self.course = course
        self._rng = rng
        self._at: NDArray[np.float64] = np.array(course.start, np.float64)
        self.velocity: NDArray[np.float64] = np.zeros(3)
        """Velocity of the foot, (3,) m/s."""
        self.time = 0.0
        self._ticks = 0
        self._side = float(rng.choice((-1.0, 1.0)))
        spread = float(rng.uniform(-0.4, 0.4))
        # Around a fixed camera a heading of 0 means straight up, so the target starts sideways.
        self._base = self._side * math.radians(85) + spread / 3 if course.fixed_camera else spread
        self._heading = self._base
        self._wanted_heading = self._base
        self._turn_rate = 0.0
        self._pace = 0.0
        self._next_event = 0.0
        self._going = True
        self._wave_phase = float(rng.uniform(0, 2 * math.pi))
        self._wave_rate = 2 * math.pi / float(rng.uniform(7, 12))
        if course.path == 'circle':
            # Around a fixed camera, a slower turn would lead the target all around the camera.
            slowest, fastest = (1.6, 1.0) if course.fixed_camera else (7.0, 4.0)
            self._turn_rate = self._side / float(rng.uniform(fastest, slowest))
        self._dash: list[tuple[float, float]] = []
        """Remaining (angular rate [rad/s], seconds) of an excursion."""

    @property
    def position(self) -> NDArray[np.float64]:
        """Position of the foot, (3,) metres."""
        return np.asarray(self._at + self.velocity * (self.time - self._ticks * TICK))

    def advance(self, dt: float, camera: tuple[float, float]) -> None:
        """Move the target on by `dt` seconds. camera: its position, the centre of an excursion."""
        self.time += dt
        while (self._ticks + 1) * TICK <= self.time + 1e-9:
            self._ticks += 1
            before = self._at.copy()
            self._tick(self._ticks * TICK, camera)
            self.velocity = (self._at - before) / TICK

    def _tick(self, now: float, camera: tuple[float, float]) -> None:
        if now >= self._next_event:
            self._next_event = now + self._decide(now)
        if self._dash:
            rate, left = self._dash[0]
            self._orbit(rate * TICK, camera)
            self._dash[0] = (rate, left - TICK)
            if left <= TICK:
                self._dash.pop(0)
            return
        course = self.course
        wanted = course.speed if self._going else 0.0
        # The target needs 0.8 s to reach its speed, like an object with mass.
        step = max(course.speed, 1e-9) * TICK / 0.8
        self._pace += max(-step, min(step, wanted - self._pace))
        if self._turn_rate:
            self._heading += self._turn_rate * TICK
        else:
            error = self._wanted_heading - self._heading
            self._heading += max(-SHARPEST_TURN * TICK, min(SHARPEST_TURN * TICK, error))
        ahead = self._pace * math.cos(self._heading) * TICK
        left = self._pace * math.sin(self._heading) * TICK
        if course.fixed_camera:
            self._fly_round(ahead, left)
            return
        self._at[:2] += ahead, left
        height = course.wave * math.sin(self._wave_rate * now + self._wave_phase)
        rest = course.wave * math.sin(self._wave_phase)
        self._at[2] = max(0.0, course.start[2] + height - rest)

    def _decide(self, now: float) -> float:
        """Choose the next manoeuvre; return how long it lasts [s]."""
        path, rng = self.course.path, self._rng
        if path == 'zigzag':
            swing = 90.0 if self.course.fixed_camera else 50.0
            swing = math.radians(swing * float(rng.uniform(0.7, 1.0)))
            self._side = -self._side
            if self.course.fixed_camera:
                self._turn_round(swing)
            else:
                self._wanted_heading = self._base + self._side * swing
            return float(rng.uniform(1.5, 3.5))
        if path == 'stop_and_go':
            self._going = not self._going if now > TICK else True
            if self._going:
                self._wanted_heading = self._base + float(rng.uniform(-0.6, 0.6))
            return float(rng.uniform(1.5, 3.5))
        if path == 'out_of_view':
            if now > RUN_UP:
                out, back = 2.5 * self.course.yaw_rate, RETURN_RATE * self.course.yaw_rate
                side = float(rng.choice((-1.0, 1.0)))
                self._dash = [
                    (side * out, DASH_ANGLE / out),
                    (0.0, float(rng.uniform(0.5, 1.5))),
                    (-side * back, DASH_ANGLE / back),
                ]
                return sum(seconds for _, seconds in self._dash) + float(rng.uniform(4, 6))
            return RUN_UP + float(rng.uniform(0.5, 2))
        return math.inf

    def _orbit(self, angle: float, camera: tuple[float, float]) -> None:
        """Rotate the position of the target around the camera."""
        cos, sin = math.cos(angle), math.sin(angle)
        x, y = self._at[0] - camera[0], self._at[1] - camera[1]
        self._at[:2] = camera[0] + cos * x - sin * y, camera[1] + sin * x + cos * y

    def _turn_round(self, swing: float) -> None:
        """Reverse the sideways course, turning through up (0) or down (pi) towards mid height."""
        rising = self._seen()[2] < (LOWEST + HIGHEST) / 2
        through = math.pi * math.floor(self._heading / math.pi)
        if (round(through / math.pi) % 2 == 0) != rising:
            through += math.pi
        self._wanted_heading = through + math.copysign(swing, through - self._heading)

    def _seen(self) -> tuple[float, float, float]:
        """Return horizontal distance [m], distance [m] and elevation [rad] from a fixed camera."""
        height = self._at[2] - self.course.camera_height
        level = math.hypot(self._at[0], self._at[1])
        return level, math.hypot(level, height), math.atan2(height, level)

    def _fly_round(self, up: float, left: float) -> None:
        """Move the target on a sphere around the camera."""
        level, distance, elevation = self._seen()
        if self._turn_rate:
            up *= FLATTENED
        # Slow enough to level off before the limit of the elevation.
        room = max(0.0, HIGHEST - elevation if up > 0 else elevation - LOWEST)
        most = math.sqrt(2 * LEVELLING * room) * TICK
        elevation += max(-most, min(most, up / distance))
        azimuth = math.atan2(self._at[1], self._at[0])
        azimuth += left / max(level, 1e-6)
        self._at[:] = (
            distance * math.cos(elevation) * math.cos(azimuth),
            distance * math.cos(elevation) * math.sin(azimuth),
            self.course.camera_height + distance * math.sin(elevation),
        )
