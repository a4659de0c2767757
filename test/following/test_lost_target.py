# SPDX-License-Identifier: Apache-2.0
"""What the follower does while the tracker reports the target as lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from yaw_loop import CONFIG, LATENCY, TICK, chasing, seen

from hcat_ros.following import Command, FollowConfig, Follower


def lost_gimbal(
    places: Callable[[float], float], seconds: float = 8.0
) -> list[tuple[float, float]]:
    """(seconds since the loss, yaw rate); tracks report the azimuth `places(seconds)`."""
    follower = Follower(FollowConfig.gimbal())
    follower.activate(0.0)
    rates = []
    for tick in range(1, round((2 + seconds) / TICK)):
        now = tick * TICK
        follower.record_turning(now, 0.0, now=now)
        lost = now > 2.0
        follower.track(seen(now - LATENCY, places(now - 2.0)), now, lost)
        command = follower.command(now)
        assert command.reason.startswith('target lost') or not lost
        rates.append((now - 2.0, command.yaw_rate))
    return rates


def test_a_gimbal_keeps_turning_while_a_lost_target_stays_on_its_course() -> None:
    for since, rate in lost_gimbal(lambda since: 0.1):
        assert rate > 0.3 or since < -1.5


def test_a_gimbal_turns_along_the_course_of_a_target_it_cannot_see() -> None:
    config = FollowConfig.gimbal()
    # The target moves along with the camera, then tracks show a still object elsewhere.
    rates = lost_gimbal(lambda since: 0.1 if since < 0 else -0.4)
    assert min(rate for since, rate in rates) >= 0
    assert all(rate > 0.3 for since, rate in rates if 0 < since < 0.4 * config.lost_timeout)
    assert all(rate == 0 for since, rate in rates if since > config.lost_timeout)


def test_a_gimbal_does_not_follow_tracks_that_drift_off_the_course() -> None:
    # Tracks drift from a target that is hidden to the object that hides it.
    rates = lost_gimbal(lambda since: 0.1 if since < 0 else max(0.1 - since, -0.4))
    assert min(rate for since, rate in rates) >= 0
    assert all(rate > 0.2 for since, rate in rates if 0 < since < 1.0)


def test_the_course_is_that_from_before_the_loss_even_with_late_images() -> None:
    late = 0.35
    follower = Follower(FollowConfig.gimbal())
    follower.activate(0.0)
    follower.hold(True)  # so that only the target moves

    def place(stamp: float) -> float:
        # While a target is being covered, its visible part stands still.
        return 0.2 * min(stamp, 1.7)

    for tick in range(1, 150):
        now, stamp = tick * TICK, tick * TICK - late
        lost = stamp > 2.0
        follower.track(seen(stamp, -0.5 if lost else place(stamp)), now, lost)
        follower.command(now)
    course = follower.bearing(2.0)
    assert course is not None
    assert course.azimuth_rate == pytest.approx(0.2, abs=0.02)
    assert course.azimuth == pytest.approx(0.4, abs=0.02)


def test_a_gimbal_stops_if_its_tracker_falls_silent_after_a_loss() -> None:
    follower = Follower(FollowConfig.gimbal())
    follower.activate(0.0)
    now = 0.0
    for tick in range(1, 150):
        now = tick * TICK
        follower.track(seen(now - LATENCY, 0.1), now, lost=now > 2.0)
        command = follower.command(now)
    assert command.yaw_rate > 0.1
    stop = now + follower.config.stale_timeout
    while now < stop:
        now += TICK
        command = follower.command(now)
    assert command == Command(reason='target lost')


def test_a_robot_stops_turning_within_stale_timeout_after_a_loss() -> None:
    follower, now = chasing()
    for _ in range(round(CONFIG.stale_timeout / TICK)):
        now += TICK
        follower.track(seen(now - LATENCY, 0.15), now, lost=True)
        command = follower.command(now)
    assert command == Command(reason='target lost')


def test_a_lost_target_seen_again_is_followed_with_its_range() -> None:
    config = FollowConfig.ground().changed(
        {
            'range_mode': 'size',
            'target_height': 0.5,
            'desired_range': 1.0,
            'lost_timeout': 2.0,
        }
    )
    follower, now = chasing(config)
    known = follower.target_range(now)
    assert known is not None
    for _ in range(25):
        now += TICK
        follower.track(seen(now - LATENCY, 0.15), now, lost=True)
        command = follower.command(now)
        assert command.yaw_rate > 0.1
    assert command.forward == 0, 'nothing says that it is not the robot that is driven into'
    now += TICK
    assert follower.track(seen(now - LATENCY, 0.15), now) == ''
    assert follower.command(now).allowed == 1
