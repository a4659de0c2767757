# SPDX-License-Identifier: Apache-2.0
"""Callbacks of subscriptions that want to know more of a message than its content."""

from __future__ import annotations

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
