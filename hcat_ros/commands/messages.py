# SPDX-License-Identifier: Apache-2.0
"""Sends a command's log messages to standard error."""

from __future__ import annotations

import logging
import sys


class _StandardError(logging.Handler):
    """Writes to the current `sys.stderr`, which may be replaced at any time."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


_HANDLER = _StandardError(logging.INFO)


def show_messages() -> None:
    """Print the package's log (INFO and above) on standard error, in this process.

    Results go to standard output. Calling this function again changes nothing.
    """
    log = logging.getLogger('hcat_ros')
    log.setLevel(logging.INFO)
    log.addHandler(_HANDLER)
