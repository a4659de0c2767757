# SPDX-License-Identifier: Apache-2.0
"""Forwards Python log records, which the parts without ROS write, to a node's log."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any


class _Handler(logging.Handler):
    def __init__(self, ros: Any) -> None:
        super().__init__()
        self._ros = ros

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        # Three calls: rclpy raises an error if one source line logs at different levels.
        if record.levelno >= logging.WARNING:
            self._ros.warning(text)
        elif record.levelno < logging.INFO:
            self._ros.debug(text)
        else:
            self._ros.info(text)


@contextlib.contextmanager
def engine_log(ros: Any) -> Iterator[None]:
    """Forward what engines log while they load. ros: the node's logger, whose level decides."""
    python, handler = logging.getLogger('hcat_ros'), _Handler(ros)
    level = python.level
    python.setLevel(logging.DEBUG)
    python.addHandler(handler)
    try:
        yield
    finally:
        python.removeHandler(handler)
        python.setLevel(level)
