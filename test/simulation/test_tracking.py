# SPDX-License-Identifier: Apache-2.0
"""The real tracker follows simulated targets, so scenes are realistic and boxes right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hcat_ros.boxes import iou
from hcat_ros.engines import load_engine
from hcat_ros.simulation import Scenario, Simulation
from hcat_ros.tracking import Tracker

pytest.importorskip('onnxruntime', reason='needs onnxruntime')


def overlaps(scenario: Scenario, pictures: Path | None, frames: int = 30) -> np.ndarray:
    """Return the tracker's overlaps with the truth; the camera stands still."""
    simulation = Simulation(scenario, pictures)
    tracker = Tracker(load_engine('hcat_base', 'onnxruntime', 'fp32'))
    first = simulation.frame()
    assert first.truth.box is not None
    tracker.init(first.image, first.truth.box)
    found = []
    for _ in range(frames):
        frame = simulation.step(0.05)
        box = tracker.update(frame.image).box
        if frame.truth.box is not None:
            found.append(float(iou(box, frame.truth.box)))
    assert len(found) > frames / 2
    return np.array(found)


@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('platform', ['ground', 'drone'])
def test_the_tracker_follows_a_generated_target(platform: str, seed: int) -> None:
    scenario = Scenario('zigzag', platform, seed, speed=0.3)
    assert (overlaps(scenario, None) > 0.5).mean() > 0.9


@pytest.mark.parametrize('seed', range(2))
@pytest.mark.parametrize('platform', ['ground', 'drone'])
def test_the_tracker_follows_a_real_cutout_in_front_of_real_photographs(
    shared: Path, platform: str, seed: int
) -> None:
    pictures = shared / 'data' / 'train'
    if not (pictures / 'photos').is_dir():
        pytest.skip(f'needs photographs: no folder {pictures / "photos"}')
    scenario = Scenario('zigzag', platform, seed, speed=0.3)
    assert (overlaps(scenario, pictures) > 0.5).mean() > 0.9
