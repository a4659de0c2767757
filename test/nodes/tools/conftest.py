# SPDX-License-Identifier: Apache-2.0
"""The MAVLink camera's node between a tracker and a ground station."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from camera_station import Rig
    from talker import Talker

    from hcat_ros.nodes.tools.mavlink_camera import MavlinkCamera


@pytest.fixture
def rig(talk: Callable[..., Talker]) -> Iterator[Callable[..., Rig]]:
    """A function that brings up a tracker, its camera and a station, with these parameters.

    beside: endpoint of a second connection, besides that of the station.
    """
    from camera_station import Station, free_port
    from rclpy.parameter import Parameter

    from hcat_ros.nodes.tools.mavlink_camera import MavlinkCamera

    nodes: list[MavlinkCamera] = []

    def make(
        start: bool = True,
        tracker: dict[str, Any] | None = None,
        beside: str = '',
        **parameters: Any,
    ) -> Rig:
        talker, port = talk(**(tracker or {})), free_port()
        connections = f'udpin:127.0.0.1:{port} {beside}'
        values = {'connections': connections, 'status_rate': 20.0, **parameters}
        node = MavlinkCamera(
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
        )
        nodes.append(node)
        talker.executor.add_node(node)
        if start:
            talker.start()
            talker.spin(lambda: node.count_publishers('track') > 0, 'the track')
        station = Station(talker, port)
        station.wait('HEARTBEAT')
        return talker, station

    yield make
    for node in nodes:
        node.destroy_node()
