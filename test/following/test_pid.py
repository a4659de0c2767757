# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcat_ros.following import AxisConfig
from hcat_ros.following.pid import Pid, without_dead_band


def pid(**gains: float) -> Pid:
    return Pid(AxisConfig(**{'kp': 0.0, 'feed_forward': 0.0, **gains}), 0.0)


def test_the_output_is_the_sum_of_all_terms() -> None:
    controller = pid(kp=2.0, ki=0.5, kd=0.1, feed_forward=0.5, integral_limit=5)
    controller.update(1.0, 0.0, 0.1)
    output = controller.update(1.0, 0.2, 0.1, feed_forward=3.0)
    integral = 0.5 * (1.0 * 0.1 + 0.8 * 0.1)
    assert output == pytest.approx(2.0 * 0.8 + integral - 0.1 * 2.0 + 0.5 * 3.0)


def test_a_new_setpoint_gives_no_derivative_kick() -> None:
    controller = pid(kd=1.0)
    controller.update(0.0, 0.0, 0.1)
    assert controller.update(5.0, 0.0, 0.1) == 0


def test_the_derivative_is_low_passed() -> None:
    controller = Pid(AxisConfig(kp=0, kd=1, feed_forward=0), derivative_smoothing=0.2)
    controller.update(0.0, 0.0, 0.01)
    assert controller.update(0.0, 0.1, 0.01) == pytest.approx(-10 * 0.01 / 0.21)
    for step in range(2, 200):
        output = controller.update(0.0, 0.1 * step, 0.01)
    assert output == pytest.approx(-10, rel=1e-3)


def settle(carry_out: bool) -> float:
    """Overshoot of a slow plant with limited input after a step of 1."""
    controller = pid(kp=1.0, ki=1.0, integral_limit=5)
    place, furthest = 0.0, 0.0
    for _ in range(4000):
        output = min(max(controller.update(1.0, place, 0.01), -0.1), 0.1)
        if carry_out:
            controller.carried_out(output)
        place += output * 0.01
        furthest = max(furthest, place)
    assert furthest == pytest.approx(place, abs=5), 'finite'
    return furthest - 1


def test_the_integral_does_not_wind_up_against_a_limit() -> None:
    assert settle(carry_out=False) > 0.5, 'the plant is one that winds up'
    assert settle(carry_out=True) < 0.12


def test_an_integral_that_leads_away_from_the_limit_is_kept() -> None:
    controller = pid(ki=1.0, integral_limit=5)
    controller.integral = 3.0
    controller.update(-1.0, 0.0, 0.1)
    controller.carried_out(0.5)
    assert controller.integral == pytest.approx(2.9)


def test_the_integral_is_limited_and_can_be_reset() -> None:
    controller = pid(ki=10, integral_limit=0.3)
    for _ in range(100):
        assert abs(controller.update(1.0, 0.0, 0.1)) <= 0.3
    controller.reset()
    assert controller.update(0.0, 0.0, 0.1) == 0


@given(st.floats(-10, 10), st.floats(0, 5))
def test_the_dead_band_is_continuous_at_its_edge(error: float, dead_band: float) -> None:
    left = without_dead_band(error, dead_band)
    assert abs(left) == pytest.approx(max(abs(error) - dead_band, 0))
    assert left == 0 or math.copysign(1, left) == math.copysign(1, error)
    assert abs(without_dead_band(error + 1e-6, dead_band) - left) <= 1.01e-6
