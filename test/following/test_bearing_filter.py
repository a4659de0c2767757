# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from yaw_loop import seen

from hcat_ros.following import Command
from hcat_ros.following.bearing_filter import FIRST_RATE, BearingFilter
from hcat_ros.following.ego_motion import EgoMotion


def still() -> EgoMotion:
    return EgoMotion(0.0, 0.0)


def test_one_kalman_step_matches_the_hand_calculation() -> None:
    course = BearingFilter(still(), process_noise=0.5)
    course.update(seen(0.0, 0.1, noise=0.01))
    course.update(seen(0.1, 0.13, noise=0.01))
    # P = [[r, 0], [0, 1]] -> F P F^T + Q; K = P[:, 0] / (P[0, 0] + r)
    r, dt, q = 1e-4, 0.1, 0.25
    p00 = r + dt**2 * FIRST_RATE**2 + q * dt**3 / 3
    p01 = dt * FIRST_RATE**2 + q * dt**2 / 2
    p11 = FIRST_RATE**2 + q * dt
    k0, k1 = p00 / (p00 + r), p01 / (p00 + r)
    state = course.last
    assert state is not None
    assert state.azimuth == pytest.approx(0.1 + k0 * 0.03)
    assert state.azimuth_rate == pytest.approx(k1 * 0.03)
    assert state.covariance[0, 0] == pytest.approx((1 - k0) * p00)
    assert state.covariance[0, 2] == pytest.approx((1 - k0) * p01)
    assert state.covariance[2, 2] == pytest.approx(p11 - k1 * p01)
    assert (state.elevation, state.elevation_rate) == (0.0, 0.0)


def test_the_covariance_matches_the_actual_error() -> None:
    """Normalised estimation error squared (NEES): 4 on average over four numbers."""
    rng = np.random.default_rng(3)
    noise, process, dt = 0.01, 0.2, 1 / 30
    spread = np.linalg.cholesky(process**2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]))
    values = []
    for _ in range(60):
        course = BearingFilter(still(), process)
        truth = np.zeros((2, 2))  # rows: azimuth, elevation; columns: angle, rate
        truth[:, 1] = rng.normal(0, FIRST_RATE / 8, 2)
        for frame in range(60):
            measured = truth[:, 0] + rng.normal(0, noise, 2)
            course.update(seen(frame * dt, *measured, noise=noise))
            if frame in (20, 40, 59):
                state = course.last
                assert state is not None
                error = np.array(state[1:5]) - truth.T.ravel()
                values.append(error @ np.linalg.solve(state.covariance, error))
            truth = truth @ np.array([[1, 0], [dt, 1]]) + rng.normal(0, 1, (2, 2)) @ spread.T
    # 180 values, chi-square of 4 degrees each, three of a run nearly independent.
    assert 3.4 < np.mean(values) < 4.6


@pytest.mark.parametrize('own', [lambda t: 0.7, lambda t: 0.9 * math.cos(4 * t), lambda t: -1.2])
def test_latency_is_compensated_however_the_platform_turns(own: Callable[[float], float]) -> None:
    """A target at 0.4 rad/s, images 150 ms late, measured at once and after the delay."""
    rate, latency, dt = 0.4, 0.15, 0.01
    ego = EgoMotion(delay=0.05, lag=0.0)
    course = BearingFilter(ego, process_noise=0.3)
    heading, headings = 0.0, []
    for step in range(200):
        now = step * dt
        headings.append(heading)
        ego.record_command(now, Command(yaw_rate=own(now)))
        late = step - round(latency / dt)
        if late >= 0 and step % 3 == 0:
            course.update(seen(late * dt, rate * late * dt - headings[late], noise=0.002))
        heading += dt * (own(now - 0.05) if step >= 5 else 0.0)
    now = 199 * dt
    truth = rate * now - headings[-1]
    last, bridged = course.last, course.at(now)
    assert last is not None
    assert bridged is not None
    assert bridged.azimuth == pytest.approx(truth, abs=0.006)
    assert bridged.azimuth_rate == pytest.approx(rate, abs=0.03)
    age = now - last.time
    turned = headings[-1] - headings[round(last.time / dt)]
    assert last.azimuth - truth == pytest.approx(turned - rate * age, abs=0.006), 'off by the delay'


def test_pitch_rotates_the_bearing_of_a_target_at_the_side() -> None:
    ego = still()
    ego.record_command(0.0, Command(pitch_rate=0.5))
    course = BearingFilter(ego, 0.1)
    course.update(seen(0.0, 1.0, 0.2))
    state = course.at(1.0)
    assert state is not None
    x, y, z = (
        math.cos(0.2) * math.cos(1.0),
        math.cos(0.2) * math.sin(1.0),
        math.sin(0.2),
    )
    # Looking down by 0.5: the inverse rotation about y.
    c, s = math.cos(0.5), math.sin(0.5)
    x, z = c * x - s * z, s * x + c * z
    assert (state.azimuth, state.elevation) == pytest.approx((math.atan2(y, x), math.asin(z)))


def test_the_covariance_rotates_with_the_camera() -> None:
    """Compared with the spread of samples that are rotated one by one."""
    rng = np.random.default_rng(0)
    ego = still()
    ego.record_command(0.0, Command(yaw_rate=0.3, pitch_rate=-0.8))
    course = BearingFilter(ego, 1e-3)
    begin = seen(0.0, 0.7, 0.3)
    begin.covariance[:] = np.diag([4e-4, 1e-4])
    course.update(begin)
    after = course.at(1e-9 + 1.0)
    assert after is not None
    rotation = ego.rotation(0.0, 1.0)
    azimuth, elevation = rng.multivariate_normal([0.7, 0.3], begin.covariance, 20000).T
    points = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    x, y, z = rotation.T @ points
    sampled = np.cov(np.arctan2(y, x), np.arcsin(z))
    # Subtract the share of the unknown rates, which is equal on both axes.
    fresh = BearingFilter(ego, 1e-3)
    same = seen(0.0, 0.7, 0.3)
    same.covariance[:] = np.diag([1e-12, 1e-12])
    fresh.update(same)
    rates = fresh.at(1e-9 + 1.0)
    assert rates is not None
    found = after.covariance[:2, :2] - rates.covariance[:2, :2]
    assert found == pytest.approx(sampled, rel=0.05, abs=5e-6)


def test_a_target_behind_crosses_180_degrees_without_a_jump() -> None:
    course = BearingFilter(still(), 0.5)
    for frame in range(30):
        azimuth = math.remainder(3.0 + 0.02 * frame, 2 * math.pi)
        assert frame < 2 or course.distance(seen(frame / 30, azimuth)) < 3
        course.update(seen(frame / 30, azimuth))
    assert course.last is not None
    assert course.last.azimuth_rate == pytest.approx(0.6, abs=0.05)


def test_noise_around_180_degrees_does_not_look_like_motion() -> None:
    course = BearingFilter(still(), 0.5)
    for frame in range(40):
        measured = seen(frame / 30, (math.pi - 0.004) * (-1) ** frame)
        assert course.distance(measured) < 3
        course.update(measured)
    assert course.last is not None
    assert abs(course.last.azimuth) == pytest.approx(math.pi, abs=0.01)
    assert course.last.azimuth_rate == pytest.approx(0, abs=0.1)


def test_the_platforms_own_motion_is_compensated_if_the_range_is_known() -> None:
    ego = still()
    ego.record_command(0.0, Command(left=1.0))
    course = BearingFilter(ego, 0.5)
    course.update(seen(0.0))
    assert course.at(1.0)[1] == 0  # type: ignore[index]
    course.range = 5.0
    state = course.at(1.0)
    assert state is not None
    assert state.azimuth == pytest.approx(-math.atan2(1, 5))
    course.range = 1.1
    ego.record_command(0.0, Command(forward=1.0))
    assert course.at(1.0)[1] == 0, 'as good as there: no bearing to speak of'  # type: ignore[index]


def test_distance_is_in_standard_deviations() -> None:
    course = BearingFilter(still(), 0.5)
    assert course.distance(seen(0.0)) == 0, 'nothing is expected yet'
    assert course.at(1.0) is None
    course.update(seen(0.0, 0.0, noise=0.03))
    assert course.distance(seen(0.0, 0.1, noise=0.04)) == pytest.approx(0.1 / 0.05)


def test_a_rewound_filter_returns_to_its_earlier_state() -> None:
    ego = still()
    rewound, stopped = BearingFilter(ego, 0.5), BearingFilter(ego, 0.5)
    for tick in range(60):
        time = tick / 30
        # After 1 s the target seems to stand still, as if it went behind something.
        measurement = seen(time, 0.3 * min(time, 1.0))
        rewound.update(measurement)
        if time <= 1.0:
            stopped.update(measurement)
    assert rewound.at(2.0).azimuth_rate < 0.2  # type: ignore[union-attr]
    rewound.rewind(1.0)
    assert rewound.at(2.0)[:5] == stopped.at(2.0)[:5]  # type: ignore[index]
    rewound.rewind(-5.0)
    assert rewound.last is not None, 'the oldest that is known'
    rewound.clear()
    rewound.rewind(0.5)
    assert rewound.last is None
