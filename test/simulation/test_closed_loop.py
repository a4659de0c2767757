# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='an engine runs here')


from hcat_ros.boxes import Box
from hcat_ros.engines import load_engine
from hcat_ros.following import Command
from hcat_ros.models import load_model
from hcat_ros.simulation import Scenario
from hcat_ros.simulation.camera import Pose, TrueBearing
from hcat_ros.simulation.closed_loop import (
    FOUND_WITHIN,
    SETTLED,
    Loop,
    Sample,
    as_platform_command,
    run,
    score,
)
from hcat_ros.simulation.simulation import SceneTruth, SimFrame
from hcat_ros.tracking import TargetState, Track, Tracker, TrackerConfig

BOX = Box(300, 200, 40, 80)
FPS = 30


@pytest.fixture(scope='module')
def tracker() -> Tracker:
    model = load_model()
    config = TrackerConfig(**model.card.tracking)
    return Tracker(load_engine(model, 'onnxruntime', 'int8', 1), config)


@pytest.mark.parametrize('platform', ['ground', 'drone', 'gimbal'])
def test_the_platform_turns_to_its_target_and_keeps_it_in_view(
    platform: str, tracker: Tracker
) -> None:
    scenario = Scenario('straight', platform, 1, 0.0, width=320, height=240)
    loop = Loop(scenario, seconds=4.0, turned=0.25)
    samples = list(run(loop, tracker))
    assert len(samples) == 120
    found = score(loop, samples)
    assert samples[0].frame.truth.bearing.azimuth > 0.15, 'it looks to the right of the target'
    assert samples[5].command.yaw_rate >= 0
    assert found.bearing_error < 0.03
    assert found.in_view == 1
    assert found.settling < 2.5
    assert found.overshoot < 0.25
    assert math.isnan(found.range_error) == (platform == 'gimbal')


def test_with_depth_the_range_is_measured(tracker: Tracker) -> None:
    """Without depth, the loop is given the true height of the target; with depth it is not."""
    scenario = Scenario('straight', 'ground', seed=2, speed=0.3)
    loop = Loop(scenario, seconds=4, depth=True)
    assert loop.config.target_height == 0
    found = score(loop, list(run(loop, tracker)))
    assert found.range_estimate_error < 0.03
    assert found.range_error < 0.1


def test_runs_are_reproducible(tracker: Tracker) -> None:
    loop = Loop(Scenario('zigzag', 'drone', 3, width=320, height=240), seconds=1.0)
    one, other = list(run(loop, tracker)), list(run(loop, tracker))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.frame.image, b.frame.image)
        assert a.command == b.command
        assert a.track == b.track


def test_latency_compensation_reduces_overshoot(tracker: Tracker) -> None:
    scenario = Scenario('straight', 'ground', 2, 0.0, width=320, height=240)
    late = {'seconds': 4.0, 'latency': 0.15, 'turned': 0.3}
    overshoot = {}
    for compensate in (True, False):
        loop = Loop(scenario, compensate=compensate, **late)
        overshoot[compensate] = score(loop, list(run(loop, tracker))).overshoot
    assert overshoot[True] < 0.2
    assert overshoot[False] > overshoot[True] + 0.1


def test_pitch_is_positive_down_in_a_command_and_up_in_the_simulation() -> None:
    command = as_platform_command(Command(1, 2, 3, 0.4, 0.5))
    assert command == (1, 2, 3, 0.4, -0.5)


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'seconds': 0}, 'seconds 0: expected 1 to 3600'),
        ({'latency': -0.1}, 'latency -0.1: expected 0 to 1'),
        ({'processing': 2}, 'processing 2: expected 0 to 1'),
        ({'turned': float('nan')}, 'turned nan: expected -1 to 1'),
    ],
)
def test_settings_outside_their_range_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Loop(**values)


def test_a_target_out_of_view_at_the_start_is_refused(tracker: Tracker) -> None:
    loop = Loop(Scenario('straight', 'ground', 1, 0.0, horizontal_fov=0.6), turned=0.9)
    with pytest.raises(ValueError, match='the target is not seen at the start'):
        next(run(loop, tracker))


def sample(
    number: int, azimuth: float = 0.0, seen: bool = True, followed: bool = True, metres: float = 4.0
) -> Sample:
    """A frame with the target at an azimuth (rad), seen or not, followed or not."""
    truth = SceneTruth(
        BOX if seen else None,
        TrueBearing(azimuth, 0.0, metres),
        True,
        not seen,
        float(seen),
        Pose(0, 0, 1, 0, 0),
        (metres, 0, 1),
    )
    state = TargetState.TRACKING if followed else TargetState.LOST
    box = BOX if followed else Box(0, 0, 40, 80)
    frame = SimFrame(np.zeros((2, 2, 3), np.uint8), truth, number / FPS)
    return Sample(frame, Track(box, 0.9, state), Command(), math.nan)


def test_errors_are_measured_after_settling_and_while_the_target_is_visible() -> None:
    loop = Loop(Scenario(horizontal_fov=1.0), turned=0.5)
    start = round(SETTLED * FPS)
    samples = [sample(number, 0.5 - 0.01 * number) for number in range(start)]
    samples += [sample(start + number, 0.04, metres=5.0) for number in range(30)]
    samples += [sample(start + 30 + number, 0.3, seen=False) for number in range(30)]
    found = score(loop, samples)
    assert found.bearing_error == pytest.approx(0.04, abs=0.004)
    assert found.range_error == pytest.approx(0.25, abs=0.01)
    assert found.overshoot == pytest.approx(0.09 / 0.5)
    assert found.settling == pytest.approx((start + 60) / FPS), 'never below, at the end'
    assert found.in_view == 1


def test_the_bearing_error_of_a_target_behind_is_not_wrapped() -> None:
    loop = Loop(Scenario(horizontal_fov=1.0))
    samples = [sample(100 + number, math.pi - 0.01) for number in range(90)]
    assert score(loop, samples).bearing_error == pytest.approx(math.pi - 0.01)


def test_a_hidden_target_counts_as_found_if_it_is_followed_soon_after() -> None:
    loop = Loop(Scenario())

    def hidden_then(late: float) -> tuple[int, int]:
        """Count a target that is hidden for 1 s and followed `late` seconds after it reappears."""
        samples = [sample(n) for n in range(60)]
        samples += [sample(60 + n, seen=False, followed=False) for n in range(30)]
        samples += [sample(90 + n, followed=n >= late * FPS) for n in range(150)]
        found = score(loop, samples)
        return found.hidden, found.found

    assert hidden_then(1.0) == (1, 1)
    assert hidden_then(FOUND_WITHIN + 0.1) == (1, 0)
    blinks = [sample(n, seen=n % 30 != 7) for n in range(90)]
    assert score(loop, blinks).hidden == 0, 'a frame or two are no occlusion'
    away = [sample(n, seen=n < 60) for n in range(90)]
    assert score(loop, away).hidden == 0, 'nobody knows what comes after the end'
