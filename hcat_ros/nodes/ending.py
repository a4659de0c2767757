# SPDX-License-Identifier: Apache-2.0
"""Ends a process of nodes in order on SIGINT, SIGTERM or SIGHUP, at any moment.

ROS's own handlers end ROS at once, and Python's raises KeyboardInterrupt wherever it may be: in
the middle of making a node either ends in a traceback or worse. Here a signal is noted, and what
runs comes to its end first.
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
    """Whether this process has been told to end."""

    def __init__(self) -> None:
        self.asked = False
        self._interruptible = False
        self._told: Callable[[], None] | None = None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Have a signal raise KeyboardInterrupt in here: for what may take minutes."""
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note signals in here. In another thread than the main one nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self.asked, self._told = False, None
        reading, writing = socket.socketpair()
        writing.setblocking(False)
        # Python's handlers wait while the main thread waits for ROS: this thread wakes it.
        thread = threading.Thread(target=self._wait, args=(reading,), daemon=True)
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in before.items():
            # Ignored from the start is how nohup has it.
            if number != signal.SIGHUP or handler != signal.SIG_IGN:
                signal.signal(number, self._note)
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

    def tell(self, told: Callable[[], None]) -> None:
        """Call a function, from another thread, as soon as the process is told to end."""
        self._told = told
        if self.asked:
            told()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt

    def _wait(self, reading: socket.socket) -> None:
        while reading.recv(1):
            self.asked = True
            if self._told is not None:
                self._told()


ENDING = Ending()
"""The state of this process."""
