# SPDX-License-Identifier: Apache-2.0
"""Both ends of a MAVLink link: ours, which records its messages, and pymavlink's."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from hcat_ros.mavlink.dialect import mavlink, mavutil
from hcat_ros.mavlink.link import Link

LIMIT = 30.0
"""Timeout of waits that should end at once, s."""


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + LIMIT
    while not (found := condition()):
        assert time.monotonic() < deadline, f'not seen: {what}'
        time.sleep(0.01)
    return found


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


class Heard:
    """A link, the messages that it received and the lines that it logged."""

    def __init__(self, endpoint: str, key: bytes = b'') -> None:
        self.messages: list[Any] = []
        self.lines: list[str] = []
        self.link = Link(endpoint, (1, 100), self._receive, self.lines.append, key)

    def _receive(self, link: Link, message: Any) -> None:
        assert link is self.link
        self.messages.append(message)
        if message.get_type() == 'PING':
            raise ValueError('no ping today')


def station(port: int, kind: str = 'udpout', key: bytes = b'') -> Any:
    found = mavutil.mavlink_connection(f'{kind}:127.0.0.1:{port}', source_system=255)
    if key:
        found.setup_signing(key)
    return found


def beat(other: Any) -> None:
    other.mav.heartbeat_send(mavlink.MAV_TYPE_GCS, mavlink.MAV_AUTOPILOT_INVALID, 0, 0, 0)


def heartbeat() -> Any:
    return mavlink.MAVLink_heartbeat_message(30, 8, 0, 0, 4, 3)


def heard_by(other: Any) -> Any:
    return other.recv_match(type='HEARTBEAT', blocking=True, timeout=LIMIT)
