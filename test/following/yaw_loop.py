# SPDX-License-Identifier: Apache-2.0
"""A yaw platform with delay and lag, and a camera whose images arrive late, around a Follower."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.following import BearingMeasurement, FollowConfig, Follower

STEP = 0.005
STEPS_A_COMMAND = 4
STEPS_AN_IMAGE = 6
"""Steps between commands and between images: 50 commands and 33 images a second."""

CONFIG = FollowConfig.ground().changed(
    {'range_mode': 'size', 'target_height': 0.5, 'desired_range': 1.0}
)
TICK = 0.02
LATENCY = 0.06
"""Latency of the images in `chasing`, where nothing really moves, s."""


class Run(NamedTuple):
    """Time series with one value per step."""

    times: NDArray[np.float64]
    errors: NDArray[np.float64]
    """True azimuth of the target, rad."""
    rates: NDArray[np.float64]
    """Commanded yaw rates, rad/s."""


def run(
    config: FollowConfig,
    target: Callable[[float], float],
    seconds: float,
    *,
    latency: float,
    delay: float,
    lag: float,
    noise: float = 0.0,
    seed: int = 0,
) -> Run:
    """Follow a target whose bearing from the start is target(t) rad."""
    rng = np.random.default_rng(seed)
    follower = Follower(config)
    follower.activate(0.0)
    heading = rate = commanded = 0.0
    underway: deque[tuple[float, float]] = deque()
    images: deque[tuple[float, float]] = deque()
    rows = []
    for step in range(round(seconds / STEP)):
        now = step * STEP
        if step % STEPS_AN_IMAGE == 0:
            images.append((now, target(now) - heading + rng.normal(0, noise)))
        while images and images[0][0] + latency <= now + 1e-9:
            stamp, azimuth = images.popleft()
            if abs(azimuth) < math.pi:
                follower.track(seen(stamp, azimuth, noise=max(noise, 0.002)), now)
        if step % STEPS_A_COMMAND == 0:
            commanded = follower.command(now).yaw_rate
            underway.append((now + delay, commanded))
        while len(underway) > 1 and underway[1][0] <= now + 1e-9:
            underway.popleft()
        wanted = underway[0][1] if underway and underway[0][0] <= now + 1e-9 else 0.0
        # Exact over the step: whatever the lag, the platform itself is stable.
        rate = wanted + (rate - wanted) * (math.exp(-STEP / lag) if lag else 0.0)
        heading += rate * STEP
        rows.append((now, target(now) - heading, commanded))
    return Run(*np.array(rows).T)


def seen(
    stamp: float,
    azimuth: float = 0.0,
    elevation: float = 0.0,
    *,
    size: float = 0.1,
    score: float = 0.9,
    noise: float = 0.005,
    target: str = 'a',
) -> BearingMeasurement:
    """Measurement of a target; straight ahead unless angles are given."""
    return BearingMeasurement(
        stamp, azimuth, elevation, np.eye(2) * noise**2, size, size, score, target
    )


def chasing(config: FollowConfig = CONFIG, until: float = 3.0) -> tuple[Follower, float]:
    """A follower at full speed behind a target to the left, and the time."""
    follower = Follower(config)
    follower.activate(0.0)
    now = 0.0
    while now < until:
        now += TICK
        if now > LATENCY + 0.001:
            assert follower.track(seen(now - LATENCY, 0.15), now) == ''
        command = follower.command(now)
    assert command.yaw_rate > 0.1
    assert command.forward > 0.2
    assert command.allowed == 1
    assert command.reason == ''
    return follower, now
