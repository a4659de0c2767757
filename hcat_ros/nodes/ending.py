# SPDX-License-Identifier: Apache-2.0
"""Ends a process of nodes cleanly on SIGINT, SIGTERM or SIGHUP, at any moment.

ROS's own handlers shut ROS down at once, and Python's handler raises KeyboardInterrupt at any line;
both cause a traceback or a hang while a node is being created. Here a signal only sets a flag, and
the running call finishes first.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Records the signals that ask this process to end."""

    def __init__(self) -> None:
        self.asked = False
        self._interruptible = False
        self._callback: Callable[[], None] | None = None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let the next signal raise KeyboardInterrupt in this context, for work that takes minutes.

        A signal that arrived before the context was entered does not raise.
        """
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    @contextlib.contextmanager
    def watch_signals(self) -> Iterator[None]:
        """Record signals, and ignore Ctrl-Z, inside this context; only in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.asked, self._callback = False, None
        reading, writing = socket.socketpair()
        writing.setblocking(False)
        # Python runs no handler while the main thread waits inside ROS: this thread wakes it.
        thread = threading.Thread(target=self._wait, args=(reading,), daemon=True)
        before = {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGTSTP)}
        # Ctrl-Z would suspend a follower without a stop, and its platform would drive on.
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        for number in SIGNALS:
            handler = before[number]
            # nohup starts a process with SIGHUP ignored: keep it ignored.
            if number != signal.SIGHUP or handler != signal.SIG_IGN:
                signal.signal(number, self._record_signal)
        descriptor = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
            writing.close()  # ends the thread
            thread.join()
            reading.close()

    def set_callback(self, callback: Callable[[], None]) -> None:
        """Set the function that is called when the process is asked to end.

        It runs on the thread that waits for signals, once for each of `SIGNALS` that arrives. If
        the process has already been asked to end, it also runs at once, on the caller's thread.
        """
        self._callback = callback
        if self.asked:
            callback()

    def _record_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt

    def _wait(self, reading: socket.socket) -> None:
        # For each signal with a Python handler, Python writes one byte: the signal's number.
        while number := reading.recv(1):
            if number[0] not in SIGNALS:
                continue
            self.asked = True
            if self._callback is not None:
                self._callback()


ENDING = Ending()
"""The only instance in a process, because signal handlers are global."""
