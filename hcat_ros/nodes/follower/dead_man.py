# SPDX-License-Identifier: Apache-2.0
"""Stops the platform from a thread of its own when tracks stop and the executor is held up."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

REPEAT_INTERVAL = 0.1
"""Seconds after which a stop is sent again, until a new deadline is set."""


class DeadMan:
    """Calls `stop` if a deadline is neither extended nor cleared in time, and then repeats it.

    The thread of the dead man calls `stop`, a method, so that no message, however large, can delay
    it. It holds a lock meanwhile: once `moving_until(None)` returns, no stop is in progress.
    The thread does not keep the method's object alive and ends with it.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = weakref.WeakMethod(stop, lambda _: self._end_soon())
        self._deadline: float | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name='dead man', daemon=True)
        self._thread.start()

    def moving_until(self, deadline: float | None) -> None:
        """Set the deadline in `time.monotonic` seconds; None clears it when the platform stands."""
        with self._changed:
            # The thread wakes at the old deadline anyway; only an earlier deadline has to wake it.
            wake = deadline is not None and (self._deadline is None or deadline < self._deadline)
            self._deadline = deadline
            if wake:
                self._changed.notify()

    def end(self) -> None:
        """End the thread."""
        self._end_soon()
        self._thread.join()

    def _end_soon(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._ended:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is None or left > 0:
                    self._changed.wait(left)
                    continue
                self._deadline = time.monotonic() + REPEAT_INTERVAL
                if (stop := self._stop()) is not None:
                    stop()
                del stop  # it keeps its object alive
