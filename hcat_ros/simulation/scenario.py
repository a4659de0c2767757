# SPDX-License-Identifier: Apache-2.0
"""The settings of a simulation, with checked ranges, and the values derived from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from hcat_ros.simulation.camera import Pinhole
from hcat_ros.simulation.platform import PLATFORMS, PlatformModel
from hcat_ros.simulation.target_path import PATHS, Course

_RANGES = {
    'speed': (0.0, 3.0),
    'target_height': (0.05, 50.0),
    'width': (64, 4096),
    'height': (64, 4096),
    'horizontal_fov': (math.radians(10), math.radians(150)),
    'fps': (1.0, 240.0),
    'noise': (0.0, 50.0),
    'exposure': (0.0, 0.1),
    'exposure_change': (0.0, 0.8),
    'depth_range': (0.5, 1000.0),
    'depth_noise': (0.0, 0.1),
    'distractors': (0, 20),
    'hidden_share': (0.3, 1.0),
}


@dataclass(frozen=True)
class Scenario:
    """Settings of a simulation. The same settings and commands give the same frames.

    Speeds are shares of the platform's top speed, so that a scenario is equally hard for every
    platform. Raises ValueError that names the value and its range.
    """

    path: str = 'straight'
    """Path of the target, one of `target_path.PATHS`."""
    platform: str = 'ground'
    """Kind of platform, one of `platform.PLATFORMS`."""
    seed: int = 0
    speed: float = 0.5
    """Speed of the target over the platform's top speed (for a gimbal: yaw rate), 0 to 3."""
    target_height: float = 1.7
    """Height of the target, m."""
    start_range: float | None = None
    """Distance of the target at the start, 1 to 200 m; None: default of the platform."""
    target_altitude: float | None = None
    """Altitude of the target's foot, 0 to 100 m; None: default of the platform."""
    surroundings: str = 'auto'
    """'ground': a ground plane below a panorama; 'panorama': only a panorama; 'auto': a panorama
    for a gimbal, otherwise ground."""
    width: int = 640
    height: int = 480
    horizontal_fov: float = math.radians(70)
    """Horizontal field of view, rad (10 to 150 degrees)."""
    fps: float = 30.0
    noise: float = 3.0
    """Standard deviation of a pixel's noise, grey levels of 255."""
    exposure: float = 0.008
    """Exposure time, s, which determines the motion blur; 0: no blur."""
    exposure_change: float = 0.1
    """Share by which the brightness rises and falls, as with automatic exposure."""
    depth_range: float = 20.0
    """Range of the depth sensor, m."""
    depth_noise: float = 0.002
    """Standard deviation of the depth noise at 1 m, m; at 10 m it is 100 times as large."""
    distractors: int = 0
    """Number of distractors: objects of the target's kind that stand in the scene."""
    hidden_share: float = 0.7
    """Share of the target above which a covered target counts as occluded."""
    model: PlatformModel | None = None
    """Limits of the platform that replace `PLATFORMS[platform]`."""

    def __post_init__(self) -> None:
        for name, choices in (
            ('path', PATHS),
            ('platform', tuple(PLATFORMS)),
            ('surroundings', ('auto', 'ground', 'panorama')),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} '{getattr(self, name)}': expected one of {', '.join(choices)}"
                )
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = _RANGES.get(field.name, (-math.inf, math.inf))
            if field.name in _RANGES and not low <= value <= high:
                raise ValueError(f'{field.name} {value}: expected {low:.4g} to {high:.4g}')
        if self.start_range is not None and not 1 <= self.start_range <= 200:
            raise ValueError(f'start_range {self.start_range}: expected 1 to 200 m')
        if self.target_altitude is not None and not 0 <= self.target_altitude <= 100:
            raise ValueError(f'target_altitude {self.target_altitude}: expected 0 to 100 m')
        if self.seed < 0:
            raise ValueError(f'seed {self.seed}: expected 0 or more')

    @property
    def platform_model(self) -> PlatformModel:
        """Limits of the platform."""
        return self.model or PLATFORMS[self.platform]

    @property
    def lens(self) -> Pinhole:
        """Optics of the camera."""
        return Pinhole(self.width, self.height, self.horizontal_fov)

    @property
    def has_ground(self) -> bool:
        """Whether there is a ground plane."""
        if self.surroundings == 'auto':
            return self.platform != 'gimbal'
        return self.surroundings == 'ground'

    @property
    def course(self) -> Course:
        """Settings of the target's path."""
        model, fixed = self.platform_model, self.platform == 'gimbal'
        distance = self.start_range or {'ground': 4.0, 'drone': 8.0, 'gimbal': 10.0}[self.platform]
        altitude = self.target_altitude
        if altitude is None:
            # A gimbal's target flies 12 degrees above the camera. A drone's target starts 1 m below
            # the camera.
            sky = model.camera_height + distance * math.tan(math.radians(12))
            altitude = {'ground': 0.0, 'drone': model.camera_height - 1.0, 'gimbal': sky}[
                self.platform
            ]
        return Course(
            path=self.path,
            speed=self.speed * (model.yaw.speed * distance if fixed else model.forward.speed),
            start=(distance, 0.0, altitude),
            wave=0.8 if self.platform == 'drone' and altitude >= 1.0 else 0.0,
            fixed_camera=fixed,
            camera_height=model.camera_height,
            yaw_rate=model.yaw.speed,
        )
