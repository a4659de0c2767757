# SPDX-License-Identifier: Apache-2.0
"""When the steps of a replay begin and end, with a clock that the test sets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from hcat_ros.nodes.tools.replay_run import QUIET, ReplayRun

TRACKER, RECORDER = '/front/hcat_tracker', '/rosbag2_recorder'
IMAGE, TRACK = '/camera/image', '/front/track'


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(clock: Clock, tmp_path: Path) -> ReplayRun:
    plan = SimpleNamespace(
        played=IMAGE, node=TRACKER, track=TRACK, patience=120.0, images=30, image=IMAGE,
        recording=tmp_path / 'recorded',
    )  # fmt: skip
    return ReplayRun(cast('Any', plan), clock)


def test_the_bag_waits_for_the_tracker_and_the_recorder(run: ReplayRun) -> None:
    listening: dict[str, list[str]] = {IMAGE: ['/rviz'], TRACK: [RECORDER]}
    assert not run.has_readers(lambda topic: listening[topic])
    listening = {IMAGE: ['/rviz', TRACKER], TRACK: []}
    assert not run.has_readers(lambda topic: listening[topic])
    listening[TRACK] = [RECORDER]
    assert run.has_readers(lambda topic: listening[topic])


@pytest.mark.parametrize(
    ('listening', 'reason'),
    [
        ({}, f'{TRACKER} is not ready: it has not subscribed to {IMAGE}'),
        ({IMAGE: [TRACKER]}, f'{RECORDER} is not ready: it has not subscribed to {TRACK}'),
    ],
)
def test_a_reader_that_never_subscribes_ends_the_run(
    run: ReplayRun, clock: Clock, listening: dict[str, list[str]], reason: str
) -> None:
    clock.now += 120
    assert not run.has_readers(lambda topic: listening.get(topic, []))
    clock.now += 1
    with pytest.raises(RuntimeError, match=f'after 120 s {reason}'):
        run.has_readers(lambda topic: listening.get(topic, []))


def test_recording_continues_while_tracks_arrive(run: ReplayRun, clock: Clock) -> None:
    clock.now += 60  # of playing
    run.end_playing(0)
    for _ in range(5):
        clock.now += QUIET - 0.5
        assert not run.has_caught_up()
        run.note_track()
    clock.now += QUIET
    assert run.has_caught_up()
    assert run.describe_tracks().startswith(f'5 tracks of 30 images on {IMAGE} (')
    run.plan.recording.mkdir()
    run.end_recording(2)  # its exit code after SIGINT
    run.end_report(0, (0, 3))
    run.end_report(3, (0, 3))


def test_failed_step_ends_the_run(run: ReplayRun, clock: Clock) -> None:
    with pytest.raises(RuntimeError, match='ros2 bag play ended with exit code 1'):
        run.end_playing(1)
    with pytest.raises(RuntimeError, match='ros2 bag record ended with exit code 0'):
        run.end_recording(0)  # before the bag was played
    run.end_playing(0)
    clock.now += QUIET
    assert run.has_caught_up()
    with pytest.raises(RuntimeError, match='ros2 bag record ended with exit code 0'):
        run.end_recording(0)  # it has written nothing
    run.plan.recording.mkdir()
    with pytest.raises(RuntimeError, match='the tracker has sent no track; its messages'):
        run.end_recording(0)
    with pytest.raises(RuntimeError, match='hcat replay ended with exit code 1'):
        run.end_report(1, (0, 3))
