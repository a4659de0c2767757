# SPDX-License-Identifier: Apache-2.0
"""Stops the platform from a thread of its own, when the executor is held up."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable

AGAIN = 0.1
"""Seconds after which a stop that nobody has answered is sent again."""


class DeadMan:
    """Calls `stop` when a deadline passes before it is moved or taken away.

    `stop`, a method, is called in a thread that no message, however large, keeps from running for
    long. The thread keeps nothing alive: it ends with the object of that method.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = weakref.WeakMethod(stop, lambda _: self._end_soon())
        self._deadline: float | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._watch, name='dead man', daemon=True)
        self._thread.start()

    def moving_until(self, deadline: float | None) -> None:
        """Have the platform stopped at a time of `time.monotonic`; None: it stands already."""
        with self._changed:
            # The thread wakes by itself at the deadline before: later ones need no waking.
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
                self._deadline = time.monotonic() + AGAIN
                if (stop := self._stop()) is not None:
                    stop()
                del stop  # which holds its object
