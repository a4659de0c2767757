# SPDX-License-Identifier: Apache-2.0
"""The bond to nav2's lifecycle manager.

The manager's own sequence (nav2_lifecycle_manager, jazzy): configure, activate, form the bond
within half of its timeout, later see it break.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from lives import ACTIVATE, CONFIGURE
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from talker import Talker

from hcat_ros.nodes.manager_bond import end_bond

TIMEOUT = 4.0
"""Timeout of the bond, s; the manager's default."""
NODES = {'hcat_tracker': 'tracker_node', 'hcat_follower': 'follower_node'}


def test_missing_bondpy_fails_activation_with_the_remedy(
    talk: Callable[..., Talker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'bondpy.bondpy', None)
    talker = talk(bond=True)
    assert talker.change(CONFIGURE), talker.tracker.failure
    assert not talker.change(ACTIVATE)
    assert talker.tracker.state_label == 'inactive'
    assert 'bondpy' in talker.tracker.failure
    assert 'bond_timeout to 0.0' in talker.tracker.failure


class Manager:
    """Acts as nav2's lifecycle manager for one node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.node = rclpy.create_node('lifecycle_manager')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.client = self.node.create_client(ChangeState, f'{name}/change_state')
        self.bond: Any = None

    def spin(self, until: Callable[[], bool], limit: float = 30.0) -> bool:
        deadline = time.monotonic() + limit
        while not until() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
        return until()

    def change(self, transition: int) -> bool:
        assert self.spin(self.client.service_is_ready)
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self.client.call_async(request)
        assert self.spin(future.done)
        return bool(future.result().success)

    def form_bond(self) -> bool:
        from bondpy.bondpy import Bond

        self.bond = Bond(self.node, 'bond', self.name)
        self.bond.heartbeat_timeout = TIMEOUT
        self.bond.heartbeat_period = 0.1
        self.bond.start()
        return self.spin(lambda: self.bond.wait_until_formed(Duration(seconds=0.001)), TIMEOUT)


@pytest.fixture(params=NODES)
def running(request: Any, ros: None) -> Iterator[tuple[Manager, subprocess.Popen[bytes]]]:
    """A node in a separate process with a bond, and its manager."""
    pytest.importorskip('bondpy', reason='needs bondpy (apt install ros-$ROS_DISTRO-bondpy)')
    words = ['-m', 'hcat_ros.executables', NODES[request.param], '--ros-args', '-p', 'bond:=true']
    process = subprocess.Popen([sys.executable, *words])
    manager = Manager(request.param)
    yield manager, process
    process.kill()
    process.wait()
    if manager.bond is not None:
        end_bond(manager.node, manager.bond)
    manager.node.destroy_node()


def test_manager_brings_a_node_up_and_detects_its_death(
    running: tuple[Manager, subprocess.Popen[bytes]],
) -> None:
    manager, process = running
    assert manager.change(CONFIGURE)
    assert manager.change(ACTIVATE)
    assert manager.form_bond()
    assert not manager.spin(manager.bond.is_broken, 1.5)
    process.kill()
    assert manager.spin(manager.bond.is_broken, TIMEOUT + 10)


def test_deactivation_breaks_the_bond_at_once(
    running: tuple[Manager, subprocess.Popen[bytes]],
) -> None:
    manager, _ = running
    assert manager.change(CONFIGURE)
    for _ in range(2):
        assert manager.change(ACTIVATE)
        assert manager.form_bond()
        assert manager.change(Transition.TRANSITION_DEACTIVATE)
        assert manager.spin(manager.bond.is_broken, TIMEOUT)
        end_bond(manager.node, manager.bond)
        manager.bond = None
