# SPDX-License-Identifier: Apache-2.0
"""Gives subscription callbacks the message info, where this version of rclpy has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.subscription import Subscription

HAS_INFO = hasattr(Subscription, 'CallbackType')
"""Whether rclpy passes the message info, stamps and sequence number, to callbacks (since Iron)."""

InfoCallback = Callable[[Any, Mapping[str, Any]], None]
"""Callback that takes a message and its info."""


def with_info(callback: InfoCallback) -> Callable[..., None]:
    """Return a callback for rclpy; on Humble, which has no message info, the info is empty."""
    if HAS_INFO:
        return callback
    return lambda message: callback(message, {})


def time_in_queue(info: Mapping[str, Any]) -> float:
    """Return the seconds since a message's arrival, 0 if the arrival time is not known.

    A message waits in the queue of its subscription while other callbacks run.
    """
    received = int(info.get('received_timestamp', 0))
    # Never below 0: the arrival is in system time, which may have been set back since then.
    return max((time.time_ns() - received) / 1e9, 0.0) if received > 0 else 0.0
