# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest

from hcat_ros.simulation import PlatformCommand, Scenario, Simulation, top_view
from hcat_ros.simulation.top_view import PLATFORM, TARGET


def places(view: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the centre (row, column) of the pixels that have a colour."""
    drawn = (view == colour).all(2).astype(np.uint8)
    # Erosion removes the trails, which are thin.
    return np.argwhere(cv2.erode(drawn, np.ones((3, 3), np.uint8))).mean(0)


def test_the_target_is_drawn_ahead_of_the_platform_to_scale() -> None:
    simulation = Simulation(Scenario(start_range=4.0))
    view = top_view(simulation, size=400, metres=10.0)
    assert view.shape == (400, 400, 3)
    apart = places(view, PLATFORM) - places(view, TARGET)
    assert apart == pytest.approx((4.0 * 40, 0), abs=6)


def test_left_is_drawn_on_the_left_and_trails_are_drawn() -> None:
    simulation = Simulation(Scenario(path='circle', platform='drone', seed=1))
    at_start = top_view(simulation, 300, 40.0)
    for _ in range(60):
        simulation.advance(0.1)
        simulation.command(PlatformCommand(left=2.0, yaw_rate=0.2))
    view = top_view(simulation, 300, 40.0)
    for colour in (PLATFORM, TARGET):
        assert (view == colour).all(2).sum() > (at_start == colour).all(2).sum()
    pose, target = simulation.platform.pose, simulation.path.position
    row, column = places(view, PLATFORM) - places(view, TARGET)
    assert np.sign(column) == np.sign(target[1] - pose.y)
    assert np.sign(row) == np.sign(target[0] - pose.x)


def test_platform_and_target_are_visible_at_any_distance() -> None:
    for distance in (1.0, 30.0, 200.0):
        view = top_view(Simulation(Scenario(start_range=distance)), 200)
        for colour in (PLATFORM, TARGET):
            assert (view == colour).all(2).any()
