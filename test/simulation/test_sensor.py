# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from hcat_ros.simulation.sensor import Sensor

GREY = np.full((120, 160, 3), 128, np.uint8)


@pytest.mark.parametrize('noise', [2.0, 8.0])
def test_noise_has_its_standard_deviation_and_differs_in_each_frame(noise: float) -> None:
    sensor = Sensor(160, 120, noise, 0.0, seed=3)
    first, second = (sensor.exposed(GREY, time).astype(int) for time in (0.0, 0.1))
    assert (first - 128).std() == pytest.approx(noise, rel=0.05)
    assert abs((first - 128).mean()) < 0.2
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.05


def test_noise_saturates_and_does_not_overflow() -> None:
    sensor = Sensor(160, 120, 10.0, 0.0, seed=3)
    assert sensor.exposed(np.full_like(GREY, 255), 0.0).min() > 180
    assert sensor.exposed(np.zeros_like(GREY), 0.0).max() < 75


def test_exposure_varies_by_its_share() -> None:
    sensor = Sensor(160, 120, 0.0, 0.25, seed=3)
    levels = [float(sensor.exposed(GREY, time).mean()) for time in np.arange(0, 12, 0.1)]
    assert min(levels) == pytest.approx(128 * 0.75, abs=1)
    assert max(levels) == pytest.approx(128 * 1.25, abs=1)


def test_without_noise_and_exposure_change_the_picture_is_unchanged() -> None:
    assert Sensor(160, 120, 0.0, 0.0, seed=3).exposed(GREY, 1.0) is GREY
