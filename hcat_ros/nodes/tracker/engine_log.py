# SPDX-License-Identifier: Apache-2.0
"""Passes log records of the parts without ROS on to the log of a node."""

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
        # rclpy refuses a line of code that logs now at one level and now at another.
        if record.levelno >= logging.WARNING:
            self._ros.warning(text)
        elif record.levelno < logging.INFO:
            self._ros.debug(text)
        else:
            self._ros.info(text)


@contextlib.contextmanager
def engine_log(ros: Any) -> Iterator[None]:
    """Pass on what engines tell while they load; ros: the node's logger, whose level decides."""
    python, handler = logging.getLogger('hcat_ros'), _Handler(ros)
    level = python.level
    python.setLevel(logging.DEBUG)
    python.addHandler(handler)
    try:
        yield
    finally:
        python.removeHandler(handler)
        python.setLevel(level)
