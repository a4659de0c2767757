# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from yaw_loop import seen

from hcat_ros.following import Command, FollowConfig
from hcat_ros.following.ego_motion import EgoMotion
from hcat_ros.following.range_filter import FIRST_SPEED, MeasuredRange, RangeFilter, RangeFromSize

AHEAD = np.array([1.0, 0.0, 0.0])


def spans(size: float, distance: float) -> float:
    return 2 * math.atan(size / 2 / distance)


@pytest.mark.parametrize('distance', [0.5, 3.0, 40.0])
def test_a_known_size_gives_the_range(distance: float) -> None:
    config = FollowConfig.ground().changed({'range_mode': 'size', 'target_height': 1.7})
    found = RangeFromSize().of(seen(0, size=spans(1.7, distance)), config)
    assert found == MeasuredRange(pytest.approx(distance), False, 'size')
    by_width = config.changed({'target_height': 0, 'target_width': 1.7})
    assert RangeFromSize().of(seen(0, size=spans(1.7, distance)), by_width) == found


def test_a_clipped_side_is_used_only_if_both_sides_are_clipped() -> None:
    config = FollowConfig.ground().changed(
        {'range_mode': 'size', 'target_height': 1.7, 'target_width': 0.5}
    )
    near = replace(seen(0), width_rad=spans(0.5, 2), height_rad=spans(1.7, 3), height_clipped=True)
    assert RangeFromSize().of(near, config) == MeasuredRange(pytest.approx(2), False, 'size')
    both = replace(near, width_clipped=True)
    assert RangeFromSize().of(both, config) == MeasuredRange(pytest.approx(3), True, 'size')


def test_relative_range_compares_with_the_size_at_the_start() -> None:
    config = FollowConfig.ground().changed({'range_mode': 'relative', 'reference_range': 4.0})
    size = RangeFromSize()
    clipped = replace(seen(0), height_clipped=True)
    assert size.of(clipped, config) is None, 'no start to compare with'
    for _ in range(8):
        found = size.of(seen(0, size=spans(1.0, 3.0)), config)
        assert found == MeasuredRange(pytest.approx(4.0), False, 'relative')
    found = size.of(seen(0, size=spans(1.0, 6.0)), config)
    assert found == MeasuredRange(pytest.approx(8.0), False, 'relative'), 'twice as far'
    size.clear()
    assert size.of(seen(0, size=spans(1.0, 6.0)), config) == MeasuredRange(
        pytest.approx(4.0), False, 'relative'
    )


def test_range_mode_none_gives_no_range() -> None:
    assert RangeFromSize().of(seen(0), FollowConfig.ground()) is None


def test_one_kalman_step_matches_the_hand_calculation() -> None:
    course = RangeFilter(EgoMotion(0, 0), process_noise=0.5)
    assert course.at(0, AHEAD) is None
    course.update(0.0, MeasuredRange(4.0, False, 'size'), 0.1, AHEAD)
    course.update(0.1, MeasuredRange(4.2, False, 'size'), 0.1, AHEAD)
    p00 = 0.4**2 + 0.1**2 * FIRST_SPEED**2 + 0.25 * 0.1**3 / 3
    p01 = 0.1 * FIRST_SPEED**2 + 0.25 * 0.1**2 / 2
    total = p00 + 0.42**2
    now = course.at(0.1, AHEAD)
    assert now is not None
    assert now.range == pytest.approx(4 + p00 / total * 0.2)
    assert now.speed == pytest.approx(p01 / total * 0.2)
    assert now.deviation == pytest.approx(math.sqrt(p00 - p00**2 / total))


def test_the_estimated_speed_excludes_the_platforms_own_motion() -> None:
    """A target that walks away at 1 m/s from a platform that follows at 0.7."""
    ego = EgoMotion(0, 0)
    ego.record_command(0, Command(forward=0.7))
    course = RangeFilter(ego, process_noise=0.3)
    rng = np.random.default_rng(0)
    for frame in range(120):
        time = frame / 30
        course.update(
            time, MeasuredRange(3 + 0.3 * time + rng.normal(0, 0.05), False, 'size'), 0.03, AHEAD
        )
    found = course.at(4.2, AHEAD)
    assert found is not None
    assert found.speed == pytest.approx(1.0, abs=0.15)
    assert found.range == pytest.approx(3 + 0.3 * 4.2, abs=0.1)
    aside = course.at(4.2, np.array([0.0, 1.0, 0.0]))
    assert aside is not None
    assert aside.range > found.range + 0.1, 'driving forward brings what is beside no nearer'


def test_a_clipped_target_can_only_be_nearer_and_its_range_expires() -> None:
    course = RangeFilter(EgoMotion(0, 0), process_noise=0.5)
    course.update(0.0, MeasuredRange(3.0, True, 'size'), 0.1, AHEAD)
    assert course.at(0.0, AHEAD) is None
    for frame in range(20):
        course.update(frame / 30, MeasuredRange(3.0, False, 'size'), 0.1, AHEAD)
    known = course.at(0.6, AHEAD)
    assert known is not None
    assert known.is_known
    course.update(0.7, MeasuredRange(9.0, True, 'size'), 0.1, AHEAD)
    held = course.at(0.7, AHEAD)
    assert held is not None
    assert held.range == pytest.approx(known.range, abs=0.05)
    for frame in range(21, 200):
        course.update(frame / 30, MeasuredRange(9.0, True, 'size'), 0.1, AHEAD)
    assert not course.at(200 / 30, AHEAD).is_known  # type: ignore[union-attr]
    course.update(200 / 30, MeasuredRange(0.5, True, 'size'), 0.1, AHEAD)
    assert course.at(200 / 30, AHEAD).range < 1.5, 'nearer is believed'  # type: ignore[union-attr]
