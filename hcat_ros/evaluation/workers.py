# SPDX-License-Identifier: Apache-2.0
"""Worker processes that end with their parent, however that ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait


@contextlib.contextmanager
def worker_pool(
    jobs: int, initialise: Callable[[], None] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of new processes; an exception in here ends what they are doing.

    New, not copies of this one: what its libraries' threads hold would be half there.
    initialise: called once in each.
    """
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'), as_worker, (initialise,))
    try:
        yield pool
    except BaseException:
        # What waits would be done first, hours of it, and what runs be waited for.
        processes = list((getattr(pool, '_processes', None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        raise
    pool.shutdown()


def as_worker(initialise: Callable[[], None] | None = None) -> None:
    """Make this process a worker: no signal but the parent's end ends it.

    Ctrl-C goes to all processes of a terminal; the parent ends these, quietly.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    if initialise is not None:
        initialise()
