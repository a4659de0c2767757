# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from hcat_ros.following import Command
from hcat_ros.following.ego_motion import MEMORY, EgoMotion, turn


def yaw_of(rotation: np.ndarray) -> float:
    return math.atan2(rotation[1, 0], rotation[0, 0])


def test_yaw_turns_left_and_pitch_down() -> None:
    assert turn(math.pi / 2, 0) @ [1, 0, 0] == pytest.approx([0, 1, 0])
    assert turn(0, math.pi / 2) @ [1, 0, 0] == pytest.approx([0, 0, -1])
    both = turn(0.3, 0.4)
    assert both @ both.T == pytest.approx(np.eye(3))
    assert both @ [0, 0.4, 0.3] == pytest.approx([0, 0.4, 0.3]), 'its own axis stays'
    assert turn(1e-12, 0)[1, 0] == 1e-12


def test_a_command_takes_effect_after_the_delay() -> None:
    ego = EgoMotion(delay=0.1, lag=0.0)
    ego.record_command(1.0, Command(yaw_rate=0.5, forward=2.0))
    ego.record_command(2.0, Command(yaw_rate=-0.2))
    assert yaw_of(ego.rotation(0.0, 1.1)) == 0
    assert yaw_of(ego.rotation(1.0, 1.3)) == pytest.approx(0.5 * 0.2)
    assert yaw_of(ego.rotation(1.6, 2.6)) == pytest.approx(0.5 * 0.5 - 0.2 * 0.5)
    assert ego.rotation(2.6, 1.6) == pytest.approx(ego.rotation(1.6, 2.6).T)
    assert ego.travel(0.0, 5.0) == pytest.approx([2.0, 0, 0])


def test_the_lag_is_of_first_order() -> None:
    ego = EgoMotion(delay=0.1, lag=0.2)
    ego.record_command(0.0, Command(yaw_rate=1.0))
    ego.record_command(0.3, Command())
    rate, angle, step = 0.0, 0.0, 1e-5
    for index in range(100000):
        commanded = 1.0 if 0.1 <= index * step < 0.4 else 0.0
        rate += (commanded - rate) / 0.2 * step
        angle += rate * step
    assert yaw_of(ego.rotation(0.0, 1.0)) == pytest.approx(angle, abs=1e-4)
    parts = ego.rotation(0.0, 0.25) @ ego.rotation(0.25, 0.47) @ ego.rotation(0.47, 1.0)
    assert parts == pytest.approx(ego.rotation(0.0, 1.0))


def test_measured_turning_replaces_commanded_turning_if_available() -> None:
    ego = EgoMotion(delay=0.0, lag=0.0)
    ego.record_command(0.0, Command(yaw_rate=1.0))
    for tenth in range(10, 21):
        ego.record_turning(tenth / 10, 0.5, 0.0)
    ego.record_turning(1.5, 99.0, 0.0)  # out of order
    assert yaw_of(ego.rotation(1.2, 1.85)) == pytest.approx(0.5 * 0.65)
    assert yaw_of(ego.rotation(0.8, 1.1)) == pytest.approx(0.2 + 0.05)
    assert yaw_of(ego.rotation(1.9, 2.3)) == pytest.approx(0.05 + 0.3)


def test_history_is_bounded_and_can_be_cleared() -> None:
    ego, sizes = EgoMotion(delay=0.1, lag=0.0), []
    for second in range(30):
        for tick in range(100 * second, 100 * second + 100):
            ego.record_command(tick * 0.01, Command(yaw_rate=1.0))
            ego.record_turning(tick * 0.01, 1.0, 0.0)
        sizes.append(len(pickle.dumps(ego)))
    assert sizes[2] < sizes[-1] < 1.1 * sizes[math.ceil(MEMORY)]
    ego.clear()
    assert ego.rotation(0, 100) == pytest.approx(np.eye(3))


def test_reducing_the_delay_keeps_commands_in_order() -> None:
    ego = EgoMotion(delay=0.5, lag=0.0)
    ego.record_command(0.0, Command(yaw_rate=1.0))
    ego.delay = 0.0
    ego.record_command(0.1, Command(yaw_rate=0.0))
    assert yaw_of(ego.rotation(0.0, 2.0)) == 0
