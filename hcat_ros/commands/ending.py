# SPDX-License-Identifier: Apache-2.0
"""How a command ends: complete, incomplete, or stopped by a signal."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class IncompleteError(Exception):
    """The results are written, but parts of the input were left out; the message says which.

    Commands raise it at the end; `hcat` then prints a warning and returns
    `hcat_ros.executables.INCOMPLETE`.
    """


class Stopped(KeyboardInterrupt):
    """A signal ends the command; results are kept in the same way as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def signals_stop() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP raise `Stopped` in this context; only in the main thread."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        # Later signals are ignored: they would interrupt the saving of results.
        for each in SIGNALS:
            if signal.getsignal(each) == stop:
                signal.signal(each, signal.SIG_IGN)
        received.append(number)
        raise Stopped(number)

    before = {}
    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler != signal.SIG_IGN:  # nohup and background jobs ignore some
                before[number] = signal.signal(number, stop)
    except ValueError:  # not in the main thread
        pass
    try:
        yield
    except Exception as error:
        # A C++ module that is interrupted while it is imported raises an ImportError in place of
        # `Stopped`; callers may have wrapped it in an error that says what to install.
        if received and isinstance(error.__cause__ or error, ImportError):
            raise Stopped(received[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
