# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcat_ros.boxes import iou
from hcat_ros.simulation import PATHS, PLATFORMS, PlatformCommand, Scenario, SimFrame, Simulation
from hcat_ros.simulation.occluder import LONGEST, SHORTEST
from hcat_ros.simulation.pictures import Pictures, load_pictures
from hcat_ros.simulation.platform import STOP

DT = 1 / 15
CLEAN = {'noise': 0.0, 'exposure': 0.0, 'exposure_change': 0.0}


def aimed(frame: SimFrame, platform: str, distance: float) -> PlatformCommand:
    """A plain proportional controller on the truth, which stops while the target is not visible."""
    truth = frame.truth
    if not truth.in_view or truth.occluded:
        return STOP
    bearing = truth.bearing
    return PlatformCommand(
        forward=bearing.range - distance,
        up=3 * bearing.elevation if platform == 'drone' else 0.0,
        yaw_rate=3 * bearing.azimuth,
        pitch_rate=3 * bearing.elevation,
    )


def followed(scenario: Scenario, seconds: float, pictures: Path | None = None) -> list[SimFrame]:
    simulation = Simulation(scenario, pictures)
    frames = [simulation.frame()]
    distance = frames[0].truth.bearing.range
    for _ in range(round(seconds / DT)):
        command = aimed(frames[-1], scenario.platform, distance)
        frames.append(simulation.step(DT, command))
    return frames


@pytest.mark.parametrize('platform', sorted(PLATFORMS))
def test_the_same_scenario_gives_the_same_frames_bit_for_bit(platform: str) -> None:
    scenario = Scenario('occlusion', platform, seed=5, width=320, height=240)
    runs = [followed(scenario, 5)[::10] for _ in range(2)]
    for one, other in zip(*runs):
        assert (one.image == other.image).all()
        assert one.truth == other.truth
        assert one.time == other.time
    another = followed(
        Scenario(path='occlusion', platform=platform, seed=6, width=320, height=240), 1
    )
    assert (another[0].image != runs[0][0].image).any()


@pytest.mark.parametrize('platform', sorted(PLATFORMS))
@pytest.mark.parametrize('path', [path for path in PATHS if path != 'out_of_view'])
def test_a_plain_controller_keeps_the_target_in_view(path: str, platform: str) -> None:
    speed = 0.1 if path == 'occlusion' and platform == 'gimbal' else 0.5
    scenario = Scenario(path, platform, seed=2, speed=speed, width=160, height=120)
    frames = followed(scenario, 12)
    assert np.mean([frame.truth.in_view for frame in frames]) > 0.95
    for frame in frames[::10]:
        assert frame.image.shape == (120, 160, 3)
        assert frame.image.dtype == np.uint8


@pytest.mark.parametrize('platform', sorted(PLATFORMS))
def test_the_true_box_is_where_the_target_is_drawn(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compares two worlds of which one has a transparent target."""
    scenario = Scenario('zigzag', platform, seed=3, speed=0.2, **CLEAN)
    simulation = Simulation(scenario)

    def without_target(*arguments: Any) -> Pictures:
        return replace(load_pictures(*arguments), targets=[np.zeros((8, 8, 4), np.uint8)])

    monkeypatch.setattr('hcat_ros.simulation.simulation.load_pictures', without_target)
    gone = Simulation(scenario)
    for _ in range(4):
        command = PlatformCommand(forward=0.5, yaw_rate=0.1, pitch_rate=0.1)
        frame, without = (s.step(0.2, command) for s in (simulation, gone))
        box = frame.truth.box
        assert box is not None
        changed = np.abs(frame.image.astype(int) - without.image).max(2) > 8
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        drawn = (
            columns[0],
            rows[0],
            columns[-1] - columns[0] + 1,
            rows[-1] - rows[0] + 1,
        )
        assert iou(drawn, box) > 0.9
        bearing, lens = frame.truth.bearing, simulation.lens
        u = lens.centre[0] + 0.5 - lens.focal * math.tan(bearing.azimuth)
        v = (
            lens.centre[1]
            + 0.5
            - lens.focal * math.tan(bearing.elevation) / math.cos(bearing.azimuth)
        )
        assert (box.cx, box.cy) == pytest.approx((u, v), abs=2)
        expected = lens.focal * scenario.target_height / bearing.range
        assert box.h == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize('platform', ['ground', 'drone'])
@pytest.mark.parametrize('seed', range(3))
def test_occlusions_last_between_half_a_second_and_two_seconds(platform: str, seed: int) -> None:
    frames = followed(Scenario('occlusion', platform, seed, width=160, height=120), 22)
    hidden = np.array([frame.truth.occluded for frame in frames]).astype(int)
    edges = np.flatnonzero(np.diff(np.r_[0, hidden, 0]))
    spans = (edges[1::2] - edges[::2]) * DT
    assert len(spans) == 2
    assert spans.min() > SHORTEST - 0.3
    assert spans.max() < LONGEST + 0.3
    for frame in frames:
        truth = frame.truth
        assert truth.box is None or not truth.occluded
        assert truth.box is not None or truth.occluded or not truth.in_view
        if truth.occluded:
            assert truth.shown < 0.35
    partly = [f.truth for f in frames if f.truth.box is not None and 0.35 < f.truth.shown < 0.7]
    assert partly, 'it comes gradually'
    whole = frames[0].truth.box
    assert whole is not None
    assert min(truth.box.w for truth in partly if truth.box is not None) < 0.85 * whole.w


@pytest.mark.parametrize('platform', sorted(PLATFORMS))
@pytest.mark.parametrize('seed', range(2))
def test_an_out_of_view_target_leaves_the_view_and_comes_back(platform: str, seed: int) -> None:
    frames = followed(Scenario('out_of_view', platform, seed, 0.3, width=160, height=120), 10)
    seen = np.array([frame.truth.in_view for frame in frames])
    gone = np.flatnonzero(~seen)
    assert gone.size > 10
    assert seen[: gone[0]].sum() > 2 / DT, 'not before the follower has settled'
    assert seen[gone[0] :].any(), 'and back'
    assert all(frames[i].truth.box is None for i in gone)
    assert all(frames[i].truth.shown < 0.2 for i in gone)


def test_turning_blurs_the_surroundings_and_standing_still_does_not() -> None:
    def sharpness(exposure: float, turning: float) -> float:
        scenario = Scenario(
            platform='gimbal', seed=1, speed=0.0, noise=0.0, exposure_change=0.0, exposure=exposure
        )
        simulation = Simulation(scenario)
        for _ in range(10):
            frame = simulation.step(0.05, PlatformCommand(yaw_rate=turning))
        return float(np.abs(np.diff(frame.image.astype(int), axis=1)).mean())

    assert sharpness(0.02, 0.0) == sharpness(0.0, 0.0)
    assert sharpness(0.02, 1.5) < 0.8 * sharpness(0.0, 1.5)


def test_driving_forward_moves_the_ground_but_not_the_horizon() -> None:
    simulation = Simulation(Scenario(seed=4, speed=0.0, **CLEAN))
    before = simulation.frame().image.astype(int)
    for _ in range(10):
        after = simulation.step(0.05, PlatformCommand(forward=1.0)).image.astype(int)
    near, above = np.s_[400:, :], np.s_[:120, :]
    assert np.abs(after - before)[near].mean() > 5
    assert np.abs(after - before)[above].mean() < 0.5


def test_distractors_do_not_change_the_targets_path() -> None:
    alone, among = (
        Simulation(Scenario(path='zigzag', seed=4, distractors=count, **CLEAN)) for count in (0, 3)
    )
    assert alone.step(1.0).truth.target == among.step(1.0).truth.target
    assert (alone.frame().image != among.frame().image).any()


def test_time_may_advance_in_steps_of_any_size() -> None:
    together, apart = (Simulation(Scenario(width=64, height=64)) for _ in range(2))
    together.command(PlatformCommand(forward=1.0))
    together.advance(0.4)
    apart.command(PlatformCommand(forward=1.0))
    for _ in range(4):
        apart.advance(0.1)
    assert apart.time == pytest.approx(0.4)
    assert apart.platform.pose == pytest.approx(together.platform.pose, abs=1e-3)


@pytest.mark.parametrize('dt', [-0.1, math.nan, 61.0])
def test_an_invalid_time_step_is_refused(dt: float) -> None:
    with pytest.raises(ValueError, match='expected 0 to 60'):
        Simulation(Scenario(width=64, height=64)).step(dt)


def test_depth_matches_the_true_geometry() -> None:
    """On the target the true distance, on the ground the distance to the plane."""
    simulation = Simulation(Scenario('straight', 'ground', seed=1, depth_noise=0.0))
    frame = simulation.frame()
    depth, truth = simulation.depth(), frame.truth
    assert depth.shape == frame.image.shape[:2]
    assert truth.box is not None
    column, row = round(truth.box.cx), round(truth.box.cy)
    lens = simulation.lens
    ray = np.array([(column - lens.centre[0]) / lens.focal, (row - lens.centre[1]) / lens.focal, 1])
    expected = truth.bearing.range * math.cos(truth.bearing.elevation)
    assert float(depth[row, column]) * np.hypot(*ray[[0, 2]]) == pytest.approx(expected, rel=0.01)
    # A level camera at a height of h sees the ground in row v at h f / (v - cy).
    height = truth.pose.z
    assert truth.pose.pitch == 0
    ground = height * lens.focal / (lens.height - 1 - lens.centre[1])
    assert float(depth[-1, 5]) == pytest.approx(ground, rel=1e-4)
    assert np.isnan(depth[0, 5]), 'the sky'


def test_depth_ends_at_its_range_and_its_noise_grows_quadratically() -> None:
    scenario = Scenario('straight', 'ground', seed=1, depth_noise=0.01, depth_range=3.0)
    simulation = Simulation(scenario)
    exact = Simulation(replace(scenario, depth_noise=0.0)).depth()
    noisy = np.stack([simulation.depth() for _ in range(40)])
    assert np.nanmax(exact) <= 3.0
    near, far = exact[-1, 100:500], exact[-200, 100:500]
    assert not np.isnan(near).any()
    assert np.isnan(far).all()
    spread = noisy[:, -1, 100:500].std()
    assert spread == pytest.approx(0.01 * float(near.mean()) ** 2, rel=0.1)
