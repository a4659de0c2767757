# SPDX-License-Identifier: Apache-2.0
"""An isolated ROS context for each test, and nodes that are cleaned up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from follow_talker import FollowTalker
    from talker import Talker


@pytest.fixture
def ros(ros_domain: None, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A ROS context that no other process on this machine or network can see."""
    rclpy = pytest.importorskip('rclpy', reason='needs ROS 2')
    # Without this profile Fast DDS loses images between processes; see the file.
    profile = checkout / 'config' / 'fastdds_large_images.xml'
    monkeypatch.setitem(os.environ, 'FASTRTPS_DEFAULT_PROFILES_FILE', str(profile))
    rclpy.init()
    yield
    rclpy.try_shutdown()


@pytest.fixture
def talk(ros: None) -> Iterator[Callable[..., Talker]]:
    """A function that makes a `Talker` with these parameters of the node."""
    pytest.importorskip('onnxruntime', reason='the nodes run an engine')
    from talker import Talker

    made: list[Talker] = []

    def make(**parameters: Any) -> Talker:
        made.append(Talker(**parameters))
        return made[-1]

    yield make
    for talker in made:
        talker.close()


@pytest.fixture
def follow(ros: None) -> Iterator[Callable[..., FollowTalker]]:
    """A function that makes a `FollowTalker` with these parameters of the node."""
    from follow_talker import FollowTalker

    made: list[FollowTalker] = []

    def make(**parameters: Any) -> FollowTalker:
        made.append(FollowTalker(**parameters))
        return made[-1]

    yield make
    for talker in made:
        talker.close()


@pytest.fixture
def quick(talk: Callable[..., Talker], monkeypatch: pytest.MonkeyPatch) -> Iterator[Talker]:
    """An active node with `QuickEngine`; at the end it must track with the real engine."""
    from fuzzing import check_tracking
    from rclpy.logging import LoggingSeverity

    from hcat_ros.engines import ENGINES

    monkeypatch.setitem(ENGINES, 'torch', ('fuzzing', 'QuickEngine'))
    # The self-test would refuse QuickEngine, because its output is not the network's.
    monkeypatch.setattr('hcat_ros.engines.self_test', lambda engine, model: None)
    talker = talk(engine='torch', diagnostics_period=60.0)
    log = talker.tracker.get_logger()
    log.set_level(LoggingSeverity.FATAL)
    try:
        talker.start()
        yield talker
    finally:
        log.set_level(LoggingSeverity.INFO)  # the level belongs to the process, by logger name
    check_tracking(talker)
