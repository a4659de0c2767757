# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from hcat_ros.simulation.occluder import BEFORE, LONGEST, SHORTEST, Occluder

CAMERA, TARGET = np.array((0.0, 0.0, 1.0)), np.array((8.0, 0.0, 0.0))


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('share', [0.3, 0.7, 1.0])
def test_the_occluder_covers_the_target_for_the_drawn_duration(seed: int, share: float) -> None:
    width = 0.8
    occluder = Occluder(width, 2.0, True, share, np.random.default_rng(seed))
    times = np.arange(0, 40, 0.01)
    covered = []
    durations = set()
    for now in times:
        occluder.advance(float(now))
        durations.add(occluder.duration)
        foot = occluder.foot(float(now), CAMERA, TARGET)
        if foot is None:
            covered.append(0.0)
            continue
        assert foot[0] == pytest.approx(BEFORE * 8)
        # Edges of the occluder as the camera sees them, projected to the target's distance.
        low, high = ((foot[1] + side * occluder.width / 2) / BEFORE for side in (-1, 1))
        covered.append(max(0.0, min(high, width / 2) - max(low, -width / 2)) / width)
    hidden = np.array(covered) >= share - 1e-9
    edges = np.flatnonzero(np.diff(np.r_[0, hidden.astype(int), 0]))
    spans = (edges[1::2] - edges[::2]) * 0.01
    assert len(spans) >= 3
    for span in spans:
        assert min(abs(span - duration) for duration in durations) < 0.03
        assert SHORTEST - 0.03 <= span <= LONGEST + 0.03


def test_the_occluder_follows_the_line_of_sight_and_leaves_between_passages() -> None:
    occluder = Occluder(0.8, 2.0, False, 0.7, np.random.default_rng(1))
    middle = next(
        t for t in np.arange(0, 10, 0.001) if occluder.foot(t, CAMERA, TARGET) is not None
    )
    middle = float(middle) + 5.0
    for target in (TARGET, np.array((0.0, 6.0, 3.0))):
        foot = occluder.foot(middle, CAMERA, target)
        assert foot is not None
        assert foot[:2] == pytest.approx(BEFORE * target[:2], abs=0.01)
    assert occluder.foot(middle + 5.1, CAMERA, TARGET) is None
