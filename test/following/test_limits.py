# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcat_ros.following.limits import Limiter


def test_speed_rises_by_the_acceleration_and_falls_by_the_deceleration_limit() -> None:
    limiter = Limiter(-1, 1, max_acceleration=2, max_deceleration=4)
    assert [limiter.step(5, 0.1) for _ in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1])
    assert [limiter.step(0, 0.1) for _ in range(4)] == pytest.approx([0.6, 0.2, 0, 0])


def test_reversing_stops_first_and_accelerates_in_the_remaining_time() -> None:
    limiter = Limiter(-1, 1, max_acceleration=2, max_deceleration=4)
    limiter.speed = 0.2
    # 0.05 s to stop from 0.2, then 0.05 s of 2.
    assert limiter.step(-1, 0.1) == pytest.approx(-0.1)


def test_non_finite_requests_are_treated_as_zero() -> None:
    limiter = Limiter(-1, 1, 100, 100)
    for wanted in (math.nan, math.inf, -math.inf):
        assert limiter.step(wanted, 1.0) == 0


def test_a_lower_limit_and_a_stop_take_effect_at_once() -> None:
    limiter = Limiter(-1, 1, 10, 10)
    limiter.step(1, 1)
    limiter.set_limits(-0.5, 0.5, 10, 10)
    assert limiter.speed == 0.5
    limiter.stop()
    assert limiter.speed == 0
    assert limiter.step(1, 0) == 0, 'no time, no speed'


@given(
    st.lists(st.tuples(st.floats(allow_nan=True), st.floats(0, 0.5)), max_size=30),
    st.floats(0, 3),
    st.floats(0, 3),
    st.floats(0.01, 10),
    st.floats(0.01, 10),
)
def test_speed_and_acceleration_never_exceed_their_limits(
    steps: list[tuple[float, float]], back: float, ahead: float, faster: float, slower: float
) -> None:
    limiter = Limiter(-back, ahead, faster, slower)
    for wanted, dt in steps:
        before = limiter.speed
        after = limiter.step(wanted, dt)
        assert -back <= after <= ahead
        assert abs(after - before) <= max(faster, slower) * dt * (1 + 1e-9) + 1e-12
        if abs(after) > abs(before) and after * before >= 0:
            assert abs(after) - abs(before) <= faster * dt * (1 + 1e-9) + 1e-12
