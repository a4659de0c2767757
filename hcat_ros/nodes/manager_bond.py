# SPDX-License-Identifier: Apache-2.0
"""The bond by which nav2's lifecycle manager learns that a node's process has ended."""

from __future__ import annotations

import os
from typing import Any

from rclpy.node import Node

from hcat_ros.nodes.parameters import Setting

BOND = Setting(
    'bond',
    bool,
    False,
    "Keep a bond to nav2's lifecycle manager while active, which needs bondpy; without one set its "
    'bond_timeout to 0.0.',
)
"""The parameter of lifecycle nodes that asks for it."""
TOPIC = 'bond'
PERIOD = 0.1
"""Seconds between heartbeats, as nav2's own nodes have it."""
FOR_EVER = 10 * 365 * 86400.0
"""Seconds without the manager's heartbeat after which the node would mind: it never does."""


class ManagerBond:
    """A bond from activation to deactivation, under the node's name, as nav2's nodes keep one.

    The heartbeats come from a thread of bondpy: they tell of the process, not of its executor.
    """

    def __init__(self, node: Node) -> None:
        """Begin. Raises ValueError where bondpy is not installed."""
        try:
            from bondpy.bondpy import Bond
        except ImportError as error:
            distribution = os.environ.get('ROS_DISTRO', '$ROS_DISTRO')
            raise ValueError(
                f'parameter bond needs bondpy ({error}): apt install ros-{distribution}-bondpy, or '
                'leave it out and set bond_timeout: 0.0 in the lifecycle manager'
            ) from None
        self._node = node
        self._bond: Any = Bond(node, TOPIC, node.get_name())
        self._bond.heartbeat_period = PERIOD
        self._bond.heartbeat_timeout = FOR_EVER
        self._bond.connect_timeout = FOR_EVER
        self._bond.start()

    def end(self) -> None:
        """Break the bond: the manager sees that at once."""
        self._bond.break_bond()
        end_bond(self._node, self._bond)


def end_bond(node: Node, bond: Any) -> None:
    """Free what a bond has of a node.

    Its own `shutdown` destroys publisher and subscription behind the node's back, which the
    executor then waits for with an error each time.
    """
    with bond.lock:
        bond.is_shutdown = True
        bond.condition.notify_all()
    for timer in (bond.connect_timer, bond.heartbeat_timer, bond.disconnect_timer):
        timer.cancel()
    bond.thread.join()
    node.destroy_subscription(bond.sub)
    node.destroy_publisher(bond.pub)
