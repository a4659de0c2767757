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
"""Messages of which it is known that they came already."""
SAME_FOR = 0.5
"""Seconds in which an equal message without a source timestamp (Humble) is the same one."""


class LatchedInput:
    """A subscription for latched messages beside an ordinary one on the same topic.

    One that asks for kept messages gets nothing from those who keep none, and DDS warns on both
    sides; so it is made while somebody keeps some.
    """

    def __init__(self, node: Node, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Pass each message to `callback` once, whichever of the two subscriptions has it."""
        self._node, self._kind = node, kind
        self._topic = node.resolve_topic_name(topic)
        self._callback = callback
        self._subscription: Any = None
        self._had: deque[int] = deque(maxlen=REMEMBERED)
        self._last: tuple[Any, float] = (None, 0.0)
        """The last message, and when it had been passed on."""

    def take(self, message: Any, info: Mapping[str, Any]) -> None:
        """Pass a message on that either of the two subscriptions got, unless it came already."""
        sent, now = int(info.get('source_timestamp', 0)), time.monotonic()
        last, done = self._last
        is_known = sent in self._had if sent else message == last and now - done < SAME_FOR
        if not is_known:
            self._had.append(sent)
            self._callback(message)
        self._last = message, time.monotonic()  # a target takes a while to start

    def look(self) -> None:
        """Subscribe while somebody keeps messages."""
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        kept = any(
            info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers
        )
        if kept and self._subscription is None:
            self._subscription = self._node.create_subscription(
                self._kind, self._topic, with_info(self.take), LATCHED_QOS
            )
        elif not kept:
            self.close()

    def close(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
