# SPDX-License-Identifier: Apache-2.0
"""Checks publishers and subscribers around the follower, to explain why a platform stands still."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

TWIST = 'geometry_msgs/msg/Twist'
REMEDIES = {TWIST: 'stamped:=false', f'{TWIST}Stamped': 'stamped:=true'}


class Surroundings:
    """Finds problems around an active follower; a problem that lasts is logged once."""

    def __init__(self, node: Node, command_topic: str, stamped: bool) -> None:
        self._node = node
        self._topic = command_topic
        self._type = f'{TWIST}Stamped' if stamped else TWIST
        self._last: list[str] = []
        self._told: set[str] = set()

    def look(self, track: str, camera_info: str, knows_camera: bool) -> list[str]:
        """Return descriptions of the current problems. Takes the full names of the input topics."""
        found = self._commands()
        if not self._node.count_publishers(track):
            found.append(f'nobody publishes {track}')
        if not knows_camera:
            node = self._node.get_fully_qualified_name()
            found.append(
                f'the camera is not known: no camera_info on {camera_info}; without a calibration '
                f'set its field of view, as ros2 param set {node} horizontal_fov 1.2 [rad]'
            )
        # Discovery takes a moment: log a problem only if two checks in a row find it.
        lasting = [problem for problem in found if problem in self._last]
        for problem in lasting:
            if problem not in self._told:
                self._node.get_logger().warning(problem)
        self._last, self._told = found, set(lasting)
        return found

    def _commands(self) -> list[str]:
        """Return problems with the publishers and subscribers of the commands."""
        own = self._node.get_fully_qualified_name()
        others = [_name(info) for info in self._node.get_publishers_info_by_topic(self._topic)]
        if own in others:
            others.remove(own)
        problems = []
        if others:
            names = {f'another {name}' if name == own else name for name in others}
            problems.append(
                f'{self._topic} is published by {", ".join(sorted(names))} too: the platform gets '
                'both commands; let only one of them through (twist_mux)'
            )
        for info in self._node.get_subscriptions_info_by_topic(self._topic):
            if info.topic_type != self._type:
                remedy = REMEDIES.get(info.topic_type, 'remap one of the two')
                problems.append(
                    f'{_name(info)} subscribes to {self._topic} as {info.topic_type}, but this '
                    f'node publishes {self._type}: no command arrives ({remedy})'
                )
        return problems


def _name(info: Any) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'
