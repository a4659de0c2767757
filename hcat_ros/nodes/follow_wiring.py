# SPDX-License-Identifier: Apache-2.0
"""Who else is on the topics of the follower: what a user asks whose platform does not move."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

TYPES = {
    'geometry_msgs/msg/Twist': 'stamped:=false',
    'geometry_msgs/msg/TwistStamped': 'stamped:=true',
}


def wiring_problems(node: Node, command_topic: str, stamped: bool) -> list[str]:
    """Return what is wrong with who publishes and who subscribes the commands, in words."""
    own = node.get_fully_qualified_name()
    problems = []
    others = {_name(info) for info in node.get_publishers_info_by_topic(command_topic)} - {own}
    if others:
        problems.append(
            f'{command_topic} is published by {", ".join(sorted(others))} too: the platform gets '
            'both commands; let one of them through (twist_mux)'
        )
    ours = f'geometry_msgs/msg/Twist{"Stamped" if stamped else ""}'
    for info in node.get_subscriptions_info_by_topic(command_topic):
        if info.topic_type != ours:
            remedy = TYPES.get(info.topic_type, 'remap one of the two')
            problems.append(
                f'{_name(info)} takes {info.topic_type} from {command_topic}, which carries '
                f'{ours}: it gets nothing ({remedy})'
            )
    return problems


def _name(info: Any) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'
