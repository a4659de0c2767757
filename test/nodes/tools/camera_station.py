# SPDX-License-Identifier: Apache-2.0
"""A ground station for the tests of the MAVLink camera's node."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from talker import Talker

from hcat_ros.boxes import Box
from hcat_ros.mavlink.dialect import mavlink, mavutil

WIDTH, HEIGHT = 320, 240
"""Size of the talker's images."""
IMAGE_STATUS = mavlink.MAVLINK_MSG_ID_CAMERA_TRACKING_IMAGE_STATUS


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


class Station:
    """A ground station on the camera's port."""

    def __init__(self, talker: Talker, port: int) -> None:
        self.talker = talker
        self.got: list[Any] = []
        self.link = mavutil.mavlink_connection(
            f'udpout:127.0.0.1:{port}', source_system=255, source_component=190
        )

    def read(self) -> None:
        while (message := self.link.recv_msg()) is not None:
            self.got.append(message)

    def wait(self, kind: str, so: Callable[[Any], bool] = lambda message: True) -> Any:
        """Wait for a message of a kind, sending a heartbeat as stations do."""

        def found() -> Any:
            self.link.mav.heartbeat_send(mavlink.MAV_TYPE_GCS, 8, 0, 0, 0)
            self.read()
            return [m for m in self.got if m.get_type() == kind and so(m)]

        self.talker.spin(lambda: bool(found()), kind)
        return found()[-1]

    def command(self, number: int, *parameters: float) -> Any:
        """Send a command, and return its last acknowledgement."""
        self.got.clear()
        values = [*parameters, *(0.0,) * (7 - len(parameters))]
        self.link.mav.command_long_send(1, 100, number, 0, *values)
        under_way = mavlink.MAV_RESULT_IN_PROGRESS
        return self.wait('COMMAND_ACK', lambda m: m.command == number and m.result != under_way)

    def track(self, box: Box) -> Any:
        corners = (box.x / WIDTH, box.y / HEIGHT)
        corners += ((box.x + box.w) / WIDTH, (box.y + box.h) / HEIGHT)
        return self.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *corners)

    def texts(self) -> str:
        return ''.join(m.text for m in self.got if m.get_type() == 'STATUSTEXT')


def box_of_status(status: Any) -> Box:
    x, y = status.rec_top_x * WIDTH, status.rec_top_y * HEIGHT
    return Box(x, y, status.rec_bottom_x * WIDTH - x, status.rec_bottom_y * HEIGHT - y)


Rig = tuple[Talker, Station]
