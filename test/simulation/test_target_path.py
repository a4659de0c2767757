# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

from hcat_ros.simulation import PATHS, PLATFORMS, Scenario
from hcat_ros.simulation.target_path import HIGHEST, LOWEST, SHARPEST_TURN, Course, TargetPath

DT = 1 / 30


def walked(path: str, platform: str = 'ground', seed: int = 0, seconds: float = 20) -> np.ndarray:
    """Return the positions (n, 3) of a target in front of a camera that stands still."""
    course = Scenario(path=path, platform=platform, seed=seed).course
    target = TargetPath(course, np.random.default_rng(seed))
    places = [target.position]
    for _ in range(round(seconds / DT)):
        target.advance(DT, (0.0, 0.0))
        places.append(target.position)
    return np.array(places)


@pytest.mark.parametrize('platform', sorted(PLATFORMS))
@pytest.mark.parametrize('path', [path for path in PATHS if path != 'out_of_view'])
def test_a_target_keeps_its_speed(path: str, platform: str) -> None:
    places = walked(path, platform)
    speeds = np.linalg.norm(np.diff(places, axis=0), axis=1) / DT
    top = Scenario(path=path, platform=platform).course.speed
    # The vertical motion of a flying target is added to it.
    assert speeds.max() <= 1.1 * top + (0.0 if platform == 'gimbal' else 0.8)
    assert speeds.max() > 0.8 * top


@pytest.mark.parametrize('path', PATHS)
def test_the_seed_determines_the_path(path: str) -> None:
    assert (walked(path, seed=1) == walked(path, seed=1)).all()
    assert not np.allclose(walked(path, seed=1), walked(path, seed=2), atol=0.1)


@pytest.mark.parametrize('path', [path for path in PATHS if path != 'out_of_view'])
def test_the_path_does_not_depend_on_the_time_step(path: str) -> None:
    course = Scenario(path=path).course
    fine, coarse = (TargetPath(course, np.random.default_rng(5)) for _ in range(2))
    for _ in range(1000):
        fine.advance(0.004, (0.0, 0.0))
    for _ in range(40):
        coarse.advance(0.1, (0.0, 0.0))
    assert fine.position == pytest.approx(coarse.position, abs=0.02)


def test_straight_is_straight_and_zigzag_is_not() -> None:
    for path, least, most in (('straight', 0.0, 1e-3), ('zigzag', 0.3, 10.0)):
        places = walked(path)[:, :2]
        along = (places[-1] - places[0]) / np.linalg.norm(places[-1] - places[0])
        aside = np.abs((places - places[0]) @ (-along[1], along[0])).max()
        assert least <= aside <= most


def test_a_circle_is_round() -> None:
    places = walked('circle', seconds=60)[60:, :2]
    system = np.column_stack((2 * places, np.ones(len(places))))
    x, y, c = np.linalg.lstsq(system, (places**2).sum(1), rcond=None)[0]
    distances = np.linalg.norm(places - (x, y), axis=1)
    assert distances.std() < 0.01 * distances.mean()
    assert distances.mean() == pytest.approx(math.sqrt(c + x * x + y * y), rel=1e-3)


def test_stop_and_go_stops_and_goes() -> None:
    speeds = np.linalg.norm(np.diff(walked('stop_and_go'), axis=0), axis=1) / DT
    assert 0.15 < (speeds < 0.01).mean() < 0.7
    assert (speeds > 0.7).mean() > 0.2


@pytest.mark.parametrize('platform', sorted(PLATFORMS))
@pytest.mark.parametrize('seed', range(4))
def test_an_excursion_outruns_the_platform_and_comes_back(platform: str, seed: int) -> None:
    scenario = Scenario(path='out_of_view', platform=platform, seed=seed, speed=0.0)
    places = walked('out_of_view', platform, seed, 16)
    angles = np.unwrap(np.arctan2(places[:, 1], places[:, 0]))
    rates = np.abs(np.diff(angles)) / DT
    fastest = scenario.platform_model.yaw.speed
    assert rates.max() > 1.5 * fastest
    out = np.flatnonzero(rates > 1.5 * fastest)
    first = out[: np.flatnonzero(np.diff(np.r_[out, 10**6]) > 5)[0] + 1]
    turned = abs(angles[first[-1] + 1] - angles[first[0]])
    # What the platform can turn meanwhile still leaves it outside of 70 degrees.
    assert turned - fastest * len(first) * DT > math.radians(40)
    # It is back before the next excursion begins.
    back = angles[first[-1] + 1 : out[len(first)] if len(out) > len(first) else None]
    assert np.abs(back - angles[first[0]]).min() < math.radians(25)


def test_a_target_around_a_gimbal_keeps_its_distance_and_stays_in_the_sky() -> None:
    for path in ('straight', 'zigzag', 'circle', 'stop_and_go'):
        for seed in range(4):
            places = walked(path, 'gimbal', seed) - (0, 0, PLATFORMS['gimbal'].camera_height)
            distances = np.linalg.norm(places, axis=1)
            assert distances == pytest.approx(distances[0], rel=1e-3)
            elevations = np.arcsin(places[:, 2] / distances)
            assert elevations.min() > LOWEST - math.radians(1)
            assert elevations.max() < HIGHEST + math.radians(1)


@pytest.mark.parametrize('path', ['straight', 'zigzag', 'circle', 'stop_and_go'])
@pytest.mark.parametrize('seed', range(4))
def test_the_acceleration_of_a_target_around_a_gimbal_is_limited(path: str, seed: int) -> None:
    speeds = np.diff(walked(path, 'gimbal', seed, 40), axis=0) / DT
    changes = np.linalg.norm(np.diff(speeds, axis=0), axis=1) / DT
    course = Scenario(path=path, platform='gimbal', seed=seed).course
    # Turning and starting are gradual; the target never reverses within a frame.
    assert changes.max() < 1.5 * SHARPEST_TURN * course.speed


def test_an_unknown_path_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="path 'spiral': expected one of straight, zigzag"):
        TargetPath(Course('spiral', 1.0, (1.0, 0.0, 0.0)), np.random.default_rng(0))
