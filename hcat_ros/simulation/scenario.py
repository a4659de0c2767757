# SPDX-License-Identifier: Apache-2.0
"""What is simulated: one frozen record with checked ranges, and what follows from it."""

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
    """A scenario; the same one gives the same frames. Raises ValueError naming value and range.

    Speeds are shares of what the platform can do, so that a scenario is as hard on each.
    """

    path: str = 'straight'
    """One of `target_path.PATHS`."""
    platform: str = 'ground'
    """One of `platform.PLATFORMS`."""
    seed: int = 0
    speed: float = 0.5
    """Speed of the target over the platform's top speed (a gimbal's: yaw rate), 0 to 3."""
    target_height: float = 1.7
    """Metres."""
    start_range: float | None = None
    """Metres between camera and target at the start, 1 to 200; None: the platform's."""
    target_altitude: float | None = None
    """Altitude of the target's foot above the ground, 0 to 100 m; None: the platform's."""
    surroundings: str = 'auto'
    """'ground': a plane below a panorama; 'panorama': nothing but that; 'auto': by platform."""
    width: int = 640
    height: int = 480
    horizontal_fov: float = math.radians(70)
    """Radians, 10 to 150 degrees."""
    fps: float = 30.0
    noise: float = 3.0
    """Standard deviation of a pixel's noise, grey levels of 255."""
    exposure: float = 0.008
    """Seconds; what moves over it is blurred. 0: no blur."""
    exposure_change: float = 0.1
    """Share by which brightness goes up and down, as under automatic exposure."""
    depth_range: float = 20.0
    """Metres up to which the depth sensor sees."""
    depth_noise: float = 0.002
    """Standard deviation of a depth of 1 m, m; at 10 m it is 100 times as much."""
    distractors: int = 0
    """Others of the target's kind that stand about."""
    hidden_share: float = 0.7
    """A target of which more than this is covered counts as occluded."""
    model: PlatformModel | None = None
    """Another platform's limits than those of `PLATFORMS[platform]`."""

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
        """What the platform can do."""
        return self.model or PLATFORMS[self.platform]

    @property
    def lens(self) -> Pinhole:
        """The camera."""
        return Pinhole(self.width, self.height, self.horizontal_fov)

    @property
    def has_ground(self) -> bool:
        """Whether there is a ground plane."""
        if self.surroundings == 'auto':
            return self.platform != 'gimbal'
        return self.surroundings == 'ground'

    @property
    def course(self) -> Course:
        """What the target's path is made to."""
        model, fixed = self.platform_model, self.platform == 'gimbal'
        distance = self.start_range or {'ground': 4.0, 'drone': 8.0, 'gimbal': 10.0}[self.platform]
        altitude = self.target_altitude
        if altitude is None:
            # Under a gimbal in the sky; before a drone at its height, but for the camera's own.
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
