# SPDX-License-Identifier: Apache-2.0
"""The MAVLink camera's node forwards a follower's commands: MAVLink over UDP, real DDS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from camera_station import IMAGE_STATUS, Rig
from geometry_msgs.msg import Twist
from std_srvs.srv import SetBool

from hcat_ros.mavlink.dialect import mavlink, mavutil
from hcat_ros.nodes.tools.mavlink_camera import MavlinkCamera


class Follower:
    """Sends velocities through the MAVLink camera and reads what the vehicle receives."""

    def __init__(self, rig: Rig) -> None:
        self.talker, self.station = rig
        self.commands = self.talker.node.create_publisher(Twist, 'cmd_vel', 10)
        self.talker.spin(lambda: self.commands.get_subscription_count() > 0, 'the camera')
        self.client = self.talker.node.create_client(SetBool, 'mavlink_camera/hold')

    def hold(self, held: bool) -> str:
        return str(self.talker.call(self.client, SetBool.Request(data=held)).message)

    def command(self) -> None:
        twist = Twist()
        twist.linear.x, twist.linear.y, twist.angular.z = 1.0, 0.25, 0.5
        self.commands.publish(twist)

    def moves(self) -> list[Any]:
        """Return the set-points received so far."""
        self.station.read()
        return [m for m in self.station.got if m.get_type() == 'SET_POSITION_TARGET_LOCAL_NED']

    def zeros(self) -> list[Any]:
        return [m for m in self.moves() if (m.vx, m.vy, m.vz, m.yaw_rate) == (0, 0, 0, 0)]


def test_follower_commands_are_forwarded_after_release(rig: Callable[..., Rig]) -> None:
    follower = Follower(
        rig(start=False, motion='velocity', motion_timeout=0.3, motion_stamped=False)
    )
    talker = follower.talker
    for _ in range(10):
        follower.command()
        talker.spin_for(0.02)
    assert follower.moves() == [], 'on hold'
    assert follower.hold(False) == 'commands are sent on'
    follower.command()
    talker.spin(lambda: bool(follower.moves()), 'the velocity')
    first = follower.moves()[0]
    assert (first.vx, first.vy, first.yaw_rate) == (1.0, -0.25, -0.5)
    # Without further commands a zero is sent.
    talker.spin(lambda: follower.moves()[-1].vx == 0, 'the stop')
    follower.hold(True)


def test_blocked_executor_does_not_delay_the_stop(rig: Callable[..., Rig]) -> None:
    """A message of many megabytes on any topic blocks it like this."""
    follower = Follower(
        rig(start=False, motion='velocity', motion_timeout=0.3, motion_stamped=False)
    )
    follower.hold(False)
    follower.command()
    follower.talker.spin(lambda: bool(follower.moves()), 'the velocity')
    seen: list[int] = []

    def block() -> None:
        deadline = time.monotonic() + 20
        while not follower.zeros() and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(len(follower.zeros()))

    follower.talker.executor.create_task(block)
    follower.talker.spin(lambda: bool(seen), 'the end of the block', timeout=60)
    assert seen[0] > 0


def test_destroying_the_node_sends_several_zero_commands(rig: Callable[..., Rig]) -> None:
    before = set(threading.enumerate())
    follower = Follower(
        rig(start=False, motion='velocity', motion_timeout=5.0, motion_stamped=False)
    )
    (dead_man,) = (one for one in set(threading.enumerate()) - before if one.name == 'dead man')
    follower.hold(False)
    follower.command()
    follower.talker.spin(lambda: bool(follower.moves()), 'the velocity')
    (node,) = (n for n in follower.talker.executor.get_nodes() if isinstance(n, MavlinkCamera))
    follower.talker.executor.remove_node(node)
    node.destroy_node()
    # The node has ended, so everything that it sent has arrived.
    assert len(follower.moves()) > 1
    assert len(follower.zeros()) >= 3
    assert follower.zeros()[-1] is follower.moves()[-1]
    assert not dead_man.is_alive()


class GimbalManager:
    """Listens on a TCP port and records the messages that it receives."""

    def __init__(self) -> None:
        self.link = mavutil.mavlink_connection('tcpin:127.0.0.1:0')
        self.endpoint = 'tcp:{}:{}'.format(*self.link.listen.getsockname())
        self.got: list[Any] = []

    def start_anew(self) -> None:
        self.link.close()
        self.link = mavutil.mavlink_connection(self.endpoint.replace('tcp', 'tcpin'))
        self.got.clear()

    def heard(self, kind: str, command: int | None = None) -> list[Any]:
        """Return the messages of a kind received so far; about one command unless it is None."""
        while (message := self.link.recv_msg()) is not None:
            self.got.append(message)
        found = [m for m in self.got if m.get_type() == kind]
        return [m for m in found if command in (None, getattr(m, 'command', None))]


def test_gimbal_control_is_requested_again_after_a_link_reopens(
    rig: Callable[..., Rig],
) -> None:
    """After a gimbal manager has restarted, its earlier answer is no longer valid."""
    manager, configure = GimbalManager(), mavlink.MAV_CMD_DO_GIMBAL_MANAGER_CONFIGURE
    follower = Follower(
        rig(start=False, motion='gimbal', motion_stamped=False, beside=manager.endpoint)
    )
    spin = follower.talker.spin
    spin(lambda: bool(manager.heard('HEARTBEAT')), 'its link')
    follower.hold(False)
    # A repeated request shows that the camera has noticed the opened link.
    spin(lambda: any(m.confirmation for m in manager.heard('COMMAND_LONG', configure)), 'another')
    manager.link.mav.command_ack_send(configure, mavlink.MAV_RESULT_ACCEPTED, 0, 0, 1, 100)
    # A link handles messages in order: the answer to this one shows that the first was handled.
    other = mavlink.MAV_CMD_REQUEST_MESSAGE
    manager.link.mav.command_long_send(1, 100, other, 0, IMAGE_STATUS, 0, 0, 0, 0, 0, 0)
    spin(lambda: bool(manager.heard('COMMAND_ACK', other)), 'the next answer')
    manager.start_anew()
    spin(lambda: bool(manager.heard('COMMAND_LONG', configure)), 'a request', timeout=60)
    assert manager.heard('COMMAND_LONG', configure)[0].confirmation == 0
    manager.link.close()


def test_destroying_the_node_on_hold_sends_no_set_points(rig: Callable[..., Rig]) -> None:
    follower = Follower(rig(start=False, motion='velocity', motion_stamped=False))
    (node,) = (n for n in follower.talker.executor.get_nodes() if isinstance(n, MavlinkCamera))
    follower.talker.executor.remove_node(node)
    node.destroy_node()
    assert follower.moves() == []
