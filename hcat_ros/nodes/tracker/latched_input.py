# SPDX-License-Identifier: Apache-2.0
"""Receives messages that were published before the node started (transient_local)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy

from hcat_ros.nodes.message_info import with_info
from hcat_ros.nodes.qos import LATCHED_QOS

REMEMBERED = 32
"""Number of recent messages that are remembered, to recognise a second copy."""
SAME_FOR = 2.0
"""Seconds after a latched message in which an equal ordinary message counts as its copy."""


class LatchedInput:
    """Adds a subscription for latched messages to an ordinary one on the same topic.

    A transient_local subscription receives nothing from volatile publishers, and DDS warns on both
    sides. It therefore exists only while the topic has a transient_local publisher.
    """

    def __init__(self, node: Node, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Pass each message to `callback` once, even if both subscriptions receive it."""
        self._node, self._kind = node, kind
        self._topic = node.resolve_topic_name(topic)
        self._callback = callback
        self._subscription: Any = None
        self._source_stamps: deque[int] = deque(maxlen=REMEMBERED)
        self._last: Any = None
        self._kept_time = -SAME_FOR
        """When the last message was passed on, if it came over the latched subscription."""

    def take(self, message: Any, info: Mapping[str, Any]) -> None:
        """Pass on a message of the ordinary subscription unless the latched one delivered it."""
        was_kept = message == self._last and time.monotonic() - self._kept_time < SAME_FOR
        self._kept_time = -SAME_FOR
        self._pass_on(message, info, was_kept)

    def _take_kept(self, message: Any, info: Mapping[str, Any]) -> None:
        """Pass on a message of the latched subscription unless the ordinary one delivered it."""
        if self._pass_on(message, info, message == self._last):
            self._kept_time = time.monotonic()

    def _pass_on(self, message: Any, info: Mapping[str, Any], seems_known: bool) -> bool:
        """Pass a message on unless it is a second copy; return whether it was passed on.

        seems_known: whether to count it as a copy if it has no source timestamp (Humble).
        """
        sent = int(info.get('source_timestamp', 0))
        if sent in self._source_stamps if sent else seems_known:
            return False
        self._source_stamps.append(sent)
        self._last = message
        self._callback(message)
        return True

    def look(self) -> None:
        """Subscribe while a publisher keeps messages for late subscribers, else unsubscribe."""
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        kept = any(
            info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers
        )
        if kept and self._subscription is None:
            self._subscription = self._node.create_subscription(
                self._kind, self._topic, with_info(self._take_kept), LATCHED_QOS
            )
        elif not kept:
            self.close()

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
