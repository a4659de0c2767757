# SPDX-License-Identifier: Apache-2.0
"""The bond that tells nav2's lifecycle manager when a node's process has ended."""

from __future__ import annotations

import os
from typing import Any

from rclpy.node import Node

from hcat_ros.nodes.parameters import Setting

BOND = Setting(
    'bond',
    bool,
    False,
    "Keep a bond to nav2's lifecycle manager while the node is active (needs bondpy). If false, "
    "set the manager's bond_timeout to 0.0.",
)
"""Parameter of lifecycle nodes that turns the bond on."""
TOPIC = 'bond'
PERIOD = 0.1
"""Seconds between heartbeats, the same as in nav2's own nodes."""
FOR_EVER = 10 * 365 * 86400.0
"""Timeout in seconds for the manager's heartbeat: so long that the node never breaks the bond."""


class ManagerBond:
    """A bond from activation to deactivation under the node's name, as nav2's own nodes keep it.

    A thread of bondpy sends the heartbeats, so they prove that the process runs, but not that its
    executor does.
    """

    def __init__(self, node: Node) -> None:
        """Start the bond. Raises ValueError if bondpy is not installed."""
        try:
            from bondpy.bondpy import Bond
        except ImportError as error:
            distribution = os.environ.get('ROS_DISTRO', '$ROS_DISTRO')
            raise ValueError(
                f'parameter bond needs bondpy ({error}): apt install ros-{distribution}-bondpy, or '
                'set bond to false and bond_timeout to 0.0 in the lifecycle manager'
            ) from None
        self._node = node
        self._bond: Any = Bond(node, TOPIC, node.get_name())
        self._bond.heartbeat_period = PERIOD
        self._bond.heartbeat_timeout = FOR_EVER
        self._bond.connect_timeout = FOR_EVER
        self._bond.start()

    def end(self) -> None:
        """Break the bond; the manager notices at once."""
        self._bond.break_bond()
        end_bond(self._node, self._bond)


def end_bond(node: Node, bond: Any) -> None:
    """Free the timers, publisher and subscription that a bond has created on a node.

    The bond's own `shutdown` destroys publisher and subscription without telling the node; the
    executor then still waits for them, with an error each time.
    """
    with bond.lock:
        bond.is_shutdown = True
        bond.condition.notify_all()
    for timer in (bond.connect_timer, bond.heartbeat_timer, bond.disconnect_timer):
        timer.cancel()
    bond.thread.join()
    node.destroy_subscription(bond.sub)
    node.destroy_publisher(bond.pub)
