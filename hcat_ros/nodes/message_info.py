# SPDX-License-Identifier: Apache-2.0
"""Callbacks of subscriptions that want to know more of a message than its content."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.subscription import Subscription

HAS_INFO = hasattr(Subscription, 'CallbackType')
"""Whether rclpy gives callbacks the info of a message: stamps and sequence number, from Iron on."""

InfoCallback = Callable[[Any, Mapping[str, Any]], None]
"""Takes a message and its info."""


def with_info(callback: InfoCallback) -> Callable[..., None]:
    """Return a callback for rclpy, which on Humble gives the message alone: the info is empty."""
    if HAS_INFO:
        return callback
    return lambda message: callback(message, {})


def time_in_queue(info: Mapping[str, Any]) -> float:
    """Return the seconds between a message's arrival and now, 0 if the arrival is not known.

    A message waits in the queue of its subscription while other callbacks run.
    """
    received = int(info.get('received_timestamp', 0))
    # Never below 0: the arrival is in the system's time, which may have been set back since.
    return max((time.time_ns() - received) / 1e9, 0.0) if received > 0 else 0.0
