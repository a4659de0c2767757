# SPDX-License-Identifier: Apache-2.0
"""All axes at once: platforms and targets that move in 3-D, camera projection and boxes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel, Command, FollowConfig, Follower, bearing_of
from hcat_ros.following.ego_motion import turn

STEP = 0.01
LATENCY, DELAY, LAG = 0.12, 0.1, 0.15
HEIGHT, WIDTH = 1.7, 0.5
CAMERA = CameraModel.from_fov(1280, 720, 1.3)

Vector = NDArray[np.float64]


class Run(NamedTuple):
    times: Vector
    azimuths: Vector
    elevations: Vector
    ranges: Vector


def follow(
    config: FollowConfig,
    target: Callable[[float], Vector],
    seconds: float,
    hidden: tuple[float, float] = (0.0, 0.0),
) -> Run:
    """Follow the middle of a person, seen as a box with noise of a pixel or two."""
    rng = np.random.default_rng(1)
    follower = Follower(config)
    follower.activate(0.0)
    place, attitude, speeds = np.zeros(3), np.eye(3), np.zeros(5)
    commands: deque[tuple[float, Vector]] = deque([(-1.0, np.zeros(5))])
    images: deque[tuple[float, Box | None]] = deque()
    rows = []
    for step in range(round(seconds / STEP)):
        now = step * STEP
        seen = attitude.T @ (target(now) - place)
        distance = float(np.linalg.norm(seen))
        azimuth, elevation = math.atan2(seen[1], seen[0]), math.asin(seen[2] / distance)
        rows.append((now, azimuth, elevation, distance))
        if step % 3 == 0:
            u, v = CAMERA.pixel(azimuth, elevation)
            inside = 0 <= u <= CAMERA.width and 0 <= v <= CAMERA.height
            visible = inside and not hidden[0] <= now < hidden[1]
            ahead = float(seen[0])
            sides = CAMERA.fx * WIDTH / ahead, CAMERA.fy * HEIGHT / ahead
            box = Box.from_center(*(np.array([u, v, *sides]) + rng.normal(0, 1.5, 4)).tolist())
            images.append((now, box if visible else None))
        while images and images[0][0] + LATENCY <= now + 1e-9:
            stamp, box = images.popleft()
            follower.track(None if box is None else bearing_of(box, CAMERA, 0.9, stamp, 'a'), now)
        if step % 2 == 0:
            commands.append((now + DELAY, as_array(follower.command(now))))
        while len(commands) > 1 and commands[1][0] <= now + 1e-9:
            commands.popleft()
        speeds = commands[0][1] + (speeds - commands[0][1]) * math.exp(-STEP / LAG)
        place = place + attitude @ speeds[:3] * STEP
        attitude = attitude @ turn(float(speeds[3]) * STEP, float(speeds[4]) * STEP)
    return Run(*np.array(rows).T)


def as_array(command: Command) -> Vector:
    return np.array(
        [command.forward, command.left, command.up, command.yaw_rate, command.pitch_rate]
    )


def rms(values: Vector) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


KNOWN = {'range_mode': 'size', 'target_height': HEIGHT, 'actuation_lag': LAG}


def walks(time: float) -> Vector:
    """Position of a person who walks ahead at 0.25 m/s and sways."""
    return np.array([3.0 + 0.25 * time, 0.5 * math.sin(0.5 * time), 0.0])


def flies(time: float) -> Vector:
    return np.array([8.0 + 1.2 * time, 3 * math.sin(0.3 * time), -1.6 + 0.8 * math.sin(0.2 * time)])


def test_a_robot_keeps_behind_a_walker() -> None:
    config = FollowConfig.ground().changed({**KNOWN, 'desired_range': 2.0})
    result = follow(config, walks, 20)
    late = result.times > 6
    assert rms(result.azimuths[late]) < 0.05 * 1.3, 'of the field of view'
    assert rms(result.ranges[late] - 2.0) < 0.25
    assert result.ranges.min() > 1.5, 'never near'


def test_a_drone_keeps_behind_and_above() -> None:
    config = FollowConfig.drone().changed({**KNOWN, 'desired_range': 6.0})
    result = follow(config, flies, 30)
    late = result.times > 10
    assert rms(result.azimuths[late]) < 0.05 * 1.3
    assert rms(result.elevations[late] - config.desired_elevation) < 0.06
    assert rms(result.ranges[late] - 6.0) < 0.8


def test_a_gimbal_keeps_a_passing_target_in_the_middle() -> None:
    config = FollowConfig.gimbal().changed({'actuation_delay': DELAY, 'actuation_lag': LAG})
    result = follow(config, lambda t: np.array([10.0, -6 + 1.5 * t, 2 + 2 * math.sin(0.5 * t)]), 8)
    late = result.times > 2
    assert rms(result.azimuths[late]) < 0.05
    assert rms(result.elevations[late]) < 0.05


@pytest.mark.parametrize('seconds', [0.3, 1.5])
def test_a_walker_who_was_hidden_is_followed_again(seconds: float) -> None:
    config = FollowConfig.ground().changed({**KNOWN, 'desired_range': 2.0})
    result = follow(config, walks, 16, hidden=(8.0, 8.0 + seconds))
    assert rms(result.azimuths[result.times > 12]) < 0.065
    assert rms(result.ranges[result.times > 13] - 2.0) < 0.35
