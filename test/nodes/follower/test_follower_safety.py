# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong around the follower, the platform stands still."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from builtin_interfaces.msg import Time
from follow_talker import (
    FPS,
    LEFT,
    RIGHT,
    FollowTalker,
    camera_info,
    is_zero,
    track_message,
)
from lives import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE
from rclpy.time import Time as RosTime
from rosgraph_msgs.msg import Clock

from hcat_ros.boxes import Box
from hcat_ros.following import Command
from hcat_ros.message_data import nanoseconds
from hcat_ros.nodes.follower.camera import CameraSource

Follow = Callable[..., FollowTalker]
SLACK = 0.15
"""Allowance for a busy machine and the rate of the commands, s."""


@pytest.fixture
def turning(follow: Follow) -> FollowTalker:
    """A platform that turns to the left."""
    talker = follow(stale_timeout=0.4, yaw__max_deceleration=50.0)
    talker.start()
    assert talker.follow(LEFT, 'yaw') > 0
    return talker


def test_no_commands_before_activation(follow: Follow) -> None:
    talker = follow()
    talker.stream(0.3, LEFT)
    assert talker.change(CONFIGURE)
    talker.infos.publish(camera_info())
    talker.stream(0.5, LEFT)
    assert talker.commands == []


def test_commands_are_zero_until_a_track_newer_than_the_activation(follow: Follow) -> None:
    talker = follow(max_latency=5.0)
    talker.start()
    talker.stream(0.5, LEFT, age=3.0)
    assert len(talker.commands) > 5
    assert all(is_zero(message) for _, message in talker.commands)
    assert 'before the activation' in talker.follower.refusals.statistics.last_problem


def test_missing_tracks_stop_the_platform_within_stale_timeout(turning: FollowTalker) -> None:
    turning.stream(0.3, LEFT)
    turning.send(LEFT)
    since = time.monotonic()
    assert turning.wait_for_stop(since) - since < 0.4 + SLACK
    turning.spin_for(0.5)
    assert all(is_zero(message) for at, message in turning.commands if at > since + 0.4 + SLACK)
    assert turning.follow(LEFT, 'yaw') > 0, 'and goes on when they come again'


def test_lost_target_stops_the_platform(turning: FollowTalker) -> None:
    since = time.monotonic()
    turning.stream(0.4, lost=True)
    assert turning.wait_for_stop(since) - since < 0.4 + SLACK
    turning.stream(0.7, lost=True)
    assert is_zero(turning.commands[-1][1])
    assert turning.follow(LEFT, 'yaw') > 0


def test_lost_timeout_keeps_turning_after_a_lost_target_until_tracks_stop(
    turning: FollowTalker,
) -> None:
    assert turning.set('lost_timeout', 1.0).successful
    turning.stream(2.0, LEFT)
    since = time.monotonic()
    turning.stream(0.8, LEFT, lost=True)
    turned = [message.twist.angular.z for at, message in turning.commands if at > since + 0.6]
    assert turned
    assert min(turned) > 0, 'without it the platform stands still after 0.4 s'
    turning.spin_for(0.4 + 2 * SLACK)
    assert is_zero(turning.commands[-1][1])


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('x', math.nan),
        ('y', math.inf),
        ('w', math.nan),
        ('h', 0.0),
        ('w', -5.0),
        ('x', 1e300),
        ('h', 1e-300),
        ('score', math.nan),
        ('score', -math.inf),
        ('score', 7.0),
    ],
)
def test_invalid_tracks_never_reach_a_command(
    turning: FollowTalker, name: str, value: float
) -> None:
    since = time.monotonic()
    box = LEFT._replace(**{name: value}) if name != 'score' else LEFT
    score = value if name == 'score' else 0.9
    turning.stream(0.4 + SLACK, box, score=score)
    assert is_zero(turning.commands[-1][1])
    for _, message in turning.commands:
        twist = message.twist
        for part in (twist.linear, twist.angular):
            assert all(math.isfinite(v) for v in (part.x, part.y, part.z))
    assert turning.wait_for_stop(since) - since < 0.4 + SLACK
    assert turning.follow(LEFT, 'yaw') > 0


@pytest.mark.parametrize(
    ('sec', 'nanosec'), [(0, 0), (-5, 0), (2**31 - 1, 999_999_999), (1, 2**32 - 1)]
)
def test_stamps_of_another_clock_give_zero_commands(follow: Follow, sec: int, nanosec: int) -> None:
    talker = follow()
    talker.start()
    for _ in range(15):
        talker.tracks.publish(track_message(LEFT, Time(sec=sec, nanosec=nanosec)))
        talker.spin_for(1 / FPS)
    assert all(is_zero(message) for _, message in talker.commands)
    assert 'refused' in talker.follower.refusals.statistics.last_problem


def test_a_jump_across_the_image_is_not_followed_at_once(turning: FollowTalker) -> None:
    turning.stream(0.5, LEFT)
    for _ in range(2):
        turning.send(RIGHT)
        turning.spin_for(1 / FPS)
    assert turning.last['yaw'] >= 0
    assert turning.follower.refusals.statistics.counts['refused tracks'] > 0


def test_low_score_slows_the_platform_down(turning: FollowTalker) -> None:
    turning.stream(1.0, LEFT)
    full = turning.last['yaw']
    turning.stream(1.0, LEFT, score=0.45)
    assert 0 < turning.last['yaw'] < 0.8 * full
    turning.stream(0.5, LEFT, score=0.1)
    assert is_zero(turning.commands[-1][1])


def test_hold_stops_until_it_is_released(turning: FollowTalker) -> None:
    since = time.monotonic()
    assert turning.hold(True) == 'on hold'
    assert turning.wait_for_stop(since) - since < SLACK
    turning.stream(0.5, LEFT)
    assert all(is_zero(message) for at, message in turning.commands if at > since + SLACK)
    # Neither a restart of the node nor a new target releases it.
    for transition in (DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE):
        assert turning.change(transition)
    before = len(turning.commands)
    turning.infos.publish(camera_info())
    turning.stream(0.7, LEFT, target='2')
    assert len(turning.commands) > before + 5
    assert all(is_zero(message) for _, message in turning.commands[before:])
    assert turning.hold(False) == 'hold released'
    turning.infos.publish(camera_info())
    assert turning.follow(LEFT, 'yaw') > 0


def test_repeated_hold_is_logged_once(
    turning: FollowTalker, capfd: pytest.CaptureFixture[str]
) -> None:
    for on in (True, True, True, False):
        turning.hold(on)
    log = capfd.readouterr().err
    assert (log.count('on hold'), log.count('hold released')) == (1, 1)


def test_start_on_hold_prevents_motion_until_released(follow: Follow) -> None:
    talker = follow(start_on_hold=True)
    talker.start()
    talker.stream(0.5, LEFT)
    assert talker.bearings, 'it sees the target'
    assert all(is_zero(message) for _, message in talker.commands)
    talker.hold(False)
    assert talker.follow(LEFT, 'yaw') > 0


def is_on_hold(talker: FollowTalker) -> bool:
    """Wait for new diagnostics; return whether they say that the follower is on hold."""
    talker.diagnostics.clear()
    since = talker.follower.get_clock().now().nanoseconds

    def fresh() -> bool:
        return any(nanoseconds(one.header.stamp) > since for one in talker.diagnostics)

    talker.spin(fresh, 'new diagnostics')
    return talker.wait_for_diagnostics('')['hold'] == 'true'


def test_start_on_hold_set_live_takes_effect_at_the_next_configure(
    turning: FollowTalker,
) -> None:
    life = DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE
    assert turning.set('start_on_hold', True).successful
    turning.stream(0.3, LEFT)
    assert not is_zero(turning.commands[-1][1]), 'not before'
    assert all(turning.change(transition) for transition in life)
    before = len(turning.commands)
    turning.spin(turning.connected, 'connections')
    turning.infos.publish(camera_info())
    turning.stream(0.7, LEFT)
    assert turning.bearings
    assert all(is_zero(message) for _, message in turning.commands[before:])
    # The operator's release persists, because the parameter has not been set again.
    turning.hold(False)
    assert all(turning.change(transition) for transition in life)
    turning.spin(turning.connected, 'connections')
    turning.infos.publish(camera_info())
    assert turning.follow(LEFT, 'yaw') > 0
    # Setting the parameter again applies the hold at the next configure.
    assert turning.set('start_on_hold', True).successful
    assert all(turning.change(transition) for transition in life)
    assert is_on_hold(turning)
    assert turning.set('start_on_hold', False).successful
    assert all(turning.change(transition) for transition in life)
    assert is_on_hold(turning), 'only ~/hold releases'


def test_deactivation_publishes_zeros_and_then_nothing(turning: FollowTalker) -> None:
    before = len(turning.commands)
    assert turning.change(DEACTIVATE)
    turning.stream(0.5, LEFT)
    assert turning.commands[before:]
    assert is_zero(turning.commands[-1][1])
    count = len(turning.commands)
    turning.stream(0.5, LEFT)
    assert len(turning.commands) == count, 'silence'
    assert turning.change(ACTIVATE)
    turning.spin(turning.connected, 'connections')
    assert turning.follow(LEFT, 'yaw') > 0


def test_destroying_the_node_publishes_a_zero_command(
    follow: Follow, turning: FollowTalker
) -> None:
    turning.executor.remove_node(turning.follower)
    turning.follower.destroy_node()
    turning.spin_for(0.3)
    assert is_zero(turning.commands[-1][1])


@pytest.mark.parametrize('where', ['command', 'track', 'camera_info'])
def test_unexpected_error_stops_and_deactivates(
    turning: FollowTalker,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    where: str,
) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError('nobody foresaw this')

    node = turning.follower
    owner: Any = CameraSource if where == 'camera_info' else node.follower
    monkeypatch.setattr(owner, 'take' if where == 'camera_info' else where, fail)
    turning.send(LEFT)
    turning.infos.publish(camera_info())
    turning.spin(lambda: node.state_label == 'inactive', 'deactivation')
    turning.spin_for(0.3)
    assert is_zero(turning.commands[-1][1])
    assert (
        node.failure == 'stopped and deactivated after an error: RuntimeError: nobody foresaw this'
    )
    assert 'in fail\n    raise RuntimeError' in capfd.readouterr().err, 'where it was'
    values = turning.wait_for_diagnostics('stopped and deactivated after an error')
    assert values['level'] == b'\2'
    monkeypatch.undo()
    assert turning.change(ACTIVATE)
    turning.spin(turning.connected, 'connections')
    assert turning.follow(LEFT, 'yaw') > 0


def test_non_finite_command_stops_and_deactivates(
    turning: FollowTalker, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = turning.follower
    broken = Command(yaw_rate=math.nan, allowed=1.0)
    monkeypatch.setattr(node.follower, 'command', lambda now: broken)
    turning.spin(lambda: node.state_label == 'inactive', 'deactivation')
    turning.spin_for(0.3)
    assert is_zero(turning.commands[-1][1])
    assert all(math.isfinite(message.twist.angular.z) for _, message in turning.commands)


def test_platform_stands_still_without_a_valid_camera_info(follow: Follow) -> None:
    talker = follow()
    talker.follower.start()
    talker.spin(talker.connected, 'connections')
    bad = camera_info()
    bad.k = [0.0] * 9
    talker.infos.publish(bad)
    talker.stream(0.5, LEFT)
    assert all(is_zero(message) for _, message in talker.commands)
    counts = talker.follower.refusals.statistics.counts
    assert counts['refused camera infos'] == 1
    assert counts['refused tracks'] > 5
    talker.infos.publish(camera_info())
    assert talker.follow(LEFT, 'yaw') > 0


def test_stopped_simulated_time_stops_the_platform(follow: Follow) -> None:
    talker = follow(use_sim_time=True, stale_timeout=0.4)
    clock = talker.node.create_publisher(Clock, '/clock', 10)
    talker.start()
    now = 1000.0

    def run(seconds: float, goes: bool, box: Box = LEFT) -> None:
        nonlocal now
        for _ in range(round(seconds * FPS)):
            now += goes / FPS
            message = Clock()
            message.clock.sec, message.clock.nanosec = int(now), int(now % 1 * 1e9)
            clock.publish(message)
            talker.spin_for(1 / FPS)
            talker.send(box)

    run(1.0, goes=True)
    assert talker.last['yaw'] > 0
    since = time.monotonic()
    run(1.0, goes=False)
    stopped = [at for at, message in talker.commands if at > since and is_zero(message)]
    assert stopped
    assert stopped[0] - since < 0.4 + SLACK
    assert all(is_zero(message) for at, message in talker.commands if at > stopped[0])
    run(1.0, goes=True)
    assert talker.last['yaw'] > 0, 'and goes on with it'
    now -= 500.0  # a bag plays again
    before = len(talker.commands)
    run(0.1, goes=True)
    assert any(is_zero(message) for _, message in talker.commands[before:])
    run(1.0, goes=True)
    assert talker.last['yaw'] > 0


def test_a_blocked_executor_stops_the_platform_in_simulated_time_too(
    follow: Follow,
) -> None:
    talker = follow(use_sim_time=True, stale_timeout=0.4)
    clock = talker.node.create_publisher(Clock, '/clock', 10)
    talker.start()
    for step in range(round(1.0 * FPS)):
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(int(1e12 + step * 1e9 / FPS), 10**9)
        clock.publish(message)
        talker.spin_for(1 / FPS)
        talker.send(LEFT)
    assert talker.last['yaw'] > 0
    time.sleep(1.0)  # the executor is blocked, as by a message of a gigabyte
    assert talker.follower.refusals.statistics.counts['stops by the dead man'] > 0


def test_refused_tracks_do_not_delay_the_stop_of_a_blocked_executor(turning: FollowTalker) -> None:
    turning.stream(0.3, LEFT)
    good = nanoseconds(turning.send(LEFT).header.stamp) / 1e9
    turning.stream(0.25, LEFT._replace(x=math.nan))
    assert turning.follower.refusals.statistics.counts['refused tracks'] > 0
    assert not is_zero(turning.commands[-1][1])
    time.sleep(1.0)  # the executor is blocked
    before = len(turning.commands)
    turning.spin_for(0.2)
    stamps = [
        nanoseconds(message.header.stamp) / 1e9
        for _, message in turning.commands[before:]
        if is_zero(message)
    ]
    assert stamps
    assert stamps[0] - good < 0.4 + SLACK


def test_time_in_the_queue_counts_towards_the_age_of_a_track(
    turning: FollowTalker,
) -> None:
    """Tracks queued behind a flood of large messages used to move the platform after its stop."""
    turning.stream(0.3, LEFT)
    for _ in range(3):
        time.sleep(0.02)
        turning.send(LEFT)
    since = time.time()
    time.sleep(0.5)  # nothing is spun, for longer than the stale_timeout of 0.4 s
    turning.spin_for(0.5)
    late = [
        message
        for _, message in turning.commands
        if RosTime.from_msg(message.header.stamp).nanoseconds / 1e9 > since + 0.4 + SLACK
    ]
    assert late
    assert all(map(is_zero, late))
    assert turning.follow(LEFT, 'yaw') > 0


@pytest.mark.parametrize('side', [1e300, -1e300])
def test_refusal_of_a_300_digit_number_still_gives_the_reason(
    turning: FollowTalker, side: float
) -> None:
    turning.send(Box(side, 0.0, 10.0, 10.0))
    turning.spin(
        lambda: 'outside of the' in turning.follower.refusals.statistics.last_problem, 'the reason'
    )


def test_missing_tracks_are_logged_once(follow: Follow, capfd: pytest.CaptureFixture[str]) -> None:
    talker = follow()
    talker.start()
    talker.spin_for(1.0)
    assert 'no track' not in capfd.readouterr().err, 'there has been none to miss'
    for _ in range(2):
        talker.follow(LEFT, 'yaw')
        talker.spin_for(1.5)
    lines = capfd.readouterr().err.splitlines()
    told = [line.partition(']: ')[2] for line in lines if 'track' in line]
    assert [line.split(',')[0] for line in told] == [
        'no track on /track for 0.5 s',
        '/track: tracks come again',
        'no track on /track for 0.5 s',
    ]
