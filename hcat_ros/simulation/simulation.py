# SPDX-License-Identifier: Apache-2.0
"""Simulation of a camera on a platform, of its target, and of the true state of both."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.simulation.billboard import Billboard, Layer, blurred, compose
from hcat_ros.simulation.camera import Matrix, Pose, TrueBearing, bearing_of, plane_depth
from hcat_ros.simulation.occluder import Occluder
from hcat_ros.simulation.pictures import load_pictures
from hcat_ros.simulation.platform import Platform, PlatformCommand
from hcat_ros.simulation.scenario import Scenario
from hcat_ros.simulation.sensor import Sensor
from hcat_ros.simulation.target_path import TICK, TargetPath
from hcat_ros.simulation.world import Ground, Panorama
from hcat_ros.tracking.encodings import Image

TILE = 4.0
"""Length of ground that the longer side of the ground picture covers, m."""
LEAST_INSIDE = 0.1
"""Smallest share of the target's area in the frame, covered or not, that counts as in view."""
TRAIL = 20_000
"""Largest number of steps in the trail, which keeps memory bounded over days."""


class SceneTruth(NamedTuple):
    """True state of the scene at a frame."""

    box: Box | None
    """Box of the target's visible part, pixels; None while it is occluded or out of view."""
    bearing: TrueBearing
    """Bearing of the target's middle in the camera's body frame, also while it cannot be seen."""
    in_view: bool
    """Whether the target is in the frame, even if it is covered."""
    occluded: bool
    """Whether more than `Scenario.hidden_share` of the target's part in the frame is covered."""
    shown: float
    """Visible share of the target, 0..1."""
    pose: Pose
    """Pose of the camera."""
    target: tuple[float, float, float]
    """Middle of the target in the world [m]."""


class SimFrame(NamedTuple):
    """Image of the camera at one time, with the true state of the scene."""

    image: Image
    """Image, BGR (height, width, 3)."""
    truth: SceneTruth
    time: float
    """Seconds since the start."""


class Simulation:
    """A running scenario. The same scenario, pictures, steps and commands give the same frames.

    pictures: folder with photos/ and cutouts/, see `load_pictures`; None: generated pictures.

    `step(dt, command)` performs one complete step. A caller that sends commands and takes frames at
    different rates calls `command`, `advance` and `frame` instead.
    """

    def __init__(self, scenario: Scenario, pictures: Path | None = None) -> None:
        self.scenario = scenario
        self.lens = scenario.lens
        self.platform = Platform(scenario.platform_model)
        # Each part has its own random generator, so that more distractors do not change the path.
        looks, way, passing, places = (
            np.random.default_rng((scenario.seed, part)) for part in range(4)
        )
        made = load_pictures(pictures, looks, 1 + scenario.distractors)
        self._panorama = Panorama(made.panorama, below=not scenario.has_ground)
        self._ground = Ground(made.ground, TILE) if scenario.has_ground else None
        self.path = TargetPath(scenario.course, way)
        self._target = Billboard(made.targets[0], scenario.target_height)
        self._others = [
            (Billboard(picture, scenario.target_height), self._place(places))
            for picture in made.targets[1:]
        ]
        self._occluder: Occluder | None = None
        if scenario.path == 'occlusion':
            self._occluder = self._make_occluder(passing)
        self._board = np.dstack((made.board, np.full(made.board.shape[:2], 255, np.uint8)))
        self._boards: dict[float, Billboard] = {}
        self._sensor = Sensor(
            scenario.width,
            scenario.height,
            scenario.noise,
            scenario.exposure_change,
            scenario.seed,
        )
        self._depth_noise = np.random.default_rng((scenario.seed, 4))
        self.trail: deque[tuple[Pose, tuple[float, float, float]]] = deque(maxlen=TRAIL)
        """Pose of the camera and foot of the target after each `advance`, for the top view."""

    @property
    def time(self) -> float:
        """Seconds since the start."""
        return self.platform.time

    def command(self, command: PlatformCommand) -> None:
        """Give the platform a command. Raises ValueError if it is not finite."""
        self.platform.command(command)

    def advance(self, dt: float) -> None:
        """Let `dt` seconds pass. Raises ValueError unless it is 0 or more, at most 60."""
        if not 0 <= dt <= 60:
            raise ValueError(f'step of {dt} s: expected 0 to 60')
        end = self.time + dt
        while self.time < end - 1e-12:
            part = min(TICK, end - self.time)
            self.platform.advance(part)
            self.path.advance(part, (self.platform.pose.x, self.platform.pose.y))
        if self._occluder is not None:
            self._occluder.advance(self.time)
        foot = self.path.position
        self.trail.append((self.platform.pose, (float(foot[0]), float(foot[1]), float(foot[2]))))

    def step(self, dt: float, command: PlatformCommand | None = None) -> SimFrame:
        """Send a command, let `dt` seconds pass, and return the frame at the end."""
        if command is not None:
            self.command(command)
        self.advance(dt)
        return self.frame()

    def frame(self) -> SimFrame:
        """Return the present frame of the camera."""
        pose, lens = self.platform.pose, self.lens
        image: Image = np.empty((lens.height, lens.width, 3), np.uint8)
        self._panorama.draw(image, pose, lens)
        if self._ground is not None:
            self._ground.draw(image, pose, lens)
        turned = self.platform.velocity
        blur = lens.focal * self.scenario.exposure
        image = blurred(image, (turned.yaw_rate * blur, turned.pitch_rate * blur))
        target, others = self._layers(pose)
        drawn = others if target is None else [*others, target]
        for _, layer in sorted(drawn, key=lambda entry: -entry[0]):
            compose(image, layer)
        truth = self._truth(pose, target, others)
        return SimFrame(self._sensor.exposed(image, self.time), truth, self.time)

    def depth(self) -> NDArray[np.float32]:
        """Return the depth of the scene in `frame`, m along the optical axis, (height, width).

        The depth is NaN beyond `Scenario.depth_range` and in pixels in which near and far surfaces
        meet, as with a real sensor. The noise is that of a stereo camera, which grows with the
        square of the depth.
        """
        pose, lens = self.platform.pose, self.lens
        depth: Matrix = np.full((lens.height, lens.width), np.inf)
        if self._ground is not None:
            depth = plane_depth(np.array((0.0, 0.0, 1.0)), np.zeros(3), pose, lens)
        target, others = self._layers(pose)
        for _, layer in sorted(([target] if target else []) + others, key=lambda e: -e[0]):
            part = depth[layer.part]
            alpha = layer.pixels[..., 3]
            part[alpha >= 128] = plane_depth(*layer.plane, pose, lens, layer.part)[alpha >= 128]
            part[(alpha > 10) & (alpha < 245)] = np.nan
        noise = self._depth_noise.standard_normal(depth.shape, np.float32)
        with np.errstate(invalid='ignore'):
            depth[depth > self.scenario.depth_range] = np.nan
            depth += noise * self.scenario.depth_noise * depth**2
        return depth.astype(np.float32)

    def _make_occluder(self, rng: np.random.Generator) -> Occluder:
        scenario, course = self.scenario, self.scenario.course
        height = 1.3 * scenario.target_height
        if scenario.has_ground:
            top = course.start[2] + 2 * course.wave + scenario.target_height
            height = 1.15 * max(course.camera_height, top)
        return Occluder(self._target.width, height, scenario.has_ground, scenario.hidden_share, rng)

    def _board_foot(
        self, time: float, pose: Pose, target: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Return the foot of the occluder's board; None if the board is out of view or absent."""
        if self._occluder is None:
            return None
        return self._occluder.foot(time, pose.position, target)

    def _layers(self, pose: Pose) -> tuple[tuple[float, Layer] | None, list[tuple[float, Layer]]]:
        """Return (distance [m], layer) of the target (None if unseen) and of all other objects."""
        exposure = self.scenario.exposure
        foot = self.path.position
        old_foot = foot - self.path.velocity * exposure
        old_pose = self.platform.pose_before(exposure)
        board = self._board_foot(self.time, pose, foot)
        old_board = self._board_foot(self.time - exposure, old_pose, old_foot)
        things = [(self._target, foot, old_foot)]
        if board is not None and self._occluder is not None:
            old = board if old_board is None else old_board
            things.append((self._board_of(self._occluder), board, old))
        things += [(other, place, place) for other, place in self._others]
        target, others = None, []
        for thing, place, old_place in things:
            now = thing.corners(place, pose, self.lens)
            before = thing.corners(old_place, old_pose, self.lens)
            if now is None:
                continue
            moved = np.zeros(2) if before is None else (now - before).mean(0)
            layer = thing.layer(place, pose, self.lens, (float(moved[0]), float(moved[1])))
            if layer is None:
                continue
            entry = (float(np.hypot(*(place - pose.position)[:2])), layer)
            if thing is self._target:
                target = entry
            else:
                others.append(entry)
        return target, others

    def board_from_above(self) -> list[NDArray[np.float64]]:
        """Return the board's two ends on the ground as one (2, 2) array [m], or an empty list."""
        pose = self.platform.pose
        hidden = self._board_foot(self.time, pose, self.path.position)
        if hidden is None or self._occluder is None:
            return []
        away = hidden[:2] - np.array((pose.x, pose.y))
        half = np.array((-away[1], away[0])) / max(1e-9, math.hypot(*away))
        half *= self._occluder.width / 2
        return [np.stack((hidden[:2] - half, hidden[:2] + half))]

    def _board_of(self, occluder: Occluder) -> Billboard:
        """Return the board with the width of its present passage."""
        width = occluder.width
        if width not in self._boards:
            rows, columns = self._board.shape[:2]
            shape = width / occluder.height
            w, h = min(columns, round(rows * shape)), min(rows, round(columns / shape))
            cut = self._board[(rows - h) // 2 :, (columns - w) // 2 :][: max(h, 1), : max(w, 1)]
            self._boards = {width: Billboard(cut, occluder.height, width)}
        return self._boards[width]

    def _place(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return a random place for a distractor, beyond the target's start and to either side."""
        x, _, z = self.scenario.course.start
        angle = float(rng.uniform(-0.6, 0.6))
        distance = float(rng.uniform(1.2, 3.0)) * x
        return np.array((distance * math.cos(angle), distance * math.sin(angle), z))

    def _truth(
        self, pose: Pose, own: tuple[float, Layer] | None, others: list[tuple[float, Layer]]
    ) -> SceneTruth:
        middle = self.path.position + np.array((0.0, 0.0, self.scenario.target_height / 2))
        bearing = bearing_of(pose.seen(middle))
        target = (float(middle[0]), float(middle[1]), float(middle[2]))
        if own is None:
            return SceneTruth(None, bearing, False, False, 0.0, pose, target)
        distance, layer = own
        solid = layer.pixels[..., 3] >= 128
        seen = solid.copy()
        for its_distance, other in others:
            if its_distance < distance:
                _remove_covered(seen, layer, other)
        full = max(layer.full_area, 1.0)
        inside, shown = float(solid.sum()) / full, min(1.0, float(seen.sum()) / full)
        in_view = inside >= LEAST_INSIDE
        covered = 1 - float(seen.sum()) / max(float(solid.sum()), 1.0)
        occluded = in_view and covered > self.scenario.hidden_share
        box = None
        if in_view and not occluded and shown > 0:
            box = self._visible_box(layer, seen, covered)
        return SceneTruth(box, bearing, in_view, occluded, shown, pose, target)

    def _visible_box(self, layer: Layer, seen: NDArray[np.bool_], covered: float) -> Box:
        if covered > 0:
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            x, y = layer.x + float(columns[0]), layer.y + float(rows[0])
            return Box(x, y, float(columns[-1] - columns[0] + 1), float(rows[-1] - rows[0] + 1))
        # For an uncovered target the corners give the box with sub-pixel accuracy.
        left, top = max(0.0, layer.box.x), max(0.0, layer.box.y)
        right = min(float(self.lens.width), layer.box.x + layer.box.w)
        bottom = min(float(self.lens.height), layer.box.y + layer.box.h)
        return Box(left, top, right - left, bottom - top)


def _remove_covered(seen: NDArray[np.bool_], layer: Layer, other: Layer) -> None:
    """Clear the pixels in `seen`, a mask of the layer, that the other layer covers."""
    height, width = seen.shape
    rows, columns = other.pixels.shape[:2]
    top, left = max(layer.y, other.y), max(layer.x, other.x)
    bottom = min(layer.y + height, other.y + rows)
    right = min(layer.x + width, other.x + columns)
    if top >= bottom or left >= right:
        return
    part = other.pixels[top - other.y : bottom - other.y, left - other.x : right - other.x, 3]
    seen[top - layer.y : bottom - layer.y, left - layer.x : right - layer.x] &= part < 128
