# SPDX-License-Identifier: Apache-2.0
"""Where the messages of a command go."""

from __future__ import annotations

import logging
import sys


class _StandardError(logging.Handler):
    """Writes to what is the standard error at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


_HANDLER = _StandardError(logging.INFO)


def show_messages() -> None:
    """Have what the package tells its log (INFO and above) on standard error, in this process.

    Results go to standard output. Calling it again changes nothing.
    """
    log = logging.getLogger('hcat_ros')
    log.setLevel(logging.INFO)
    log.addHandler(_HANDLER)
