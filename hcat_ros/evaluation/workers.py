# SPDX-License-Identifier: Apache-2.0
"""Worker processes that end when their parent ends, even if the parent is killed."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

MOST_JOBS = 256
"""Largest number of worker processes."""
WORKER_ENDED = (
    'a worker process was killed, as the system does when memory runs out, or has crashed; run the '
    'command again, with fewer --jobs'
)


def check_jobs(jobs: int) -> None:
    """Raise ValueError for a number of worker processes below 1 or above `MOST_JOBS`."""
    if not 1 <= jobs <= MOST_JOBS:
        raise ValueError(f'--jobs {jobs}: expected 1 to {MOST_JOBS}')


@contextlib.contextmanager
def worker_pool(
    jobs: int, initialise: Callable[[], None] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of worker processes; an exception in the `with` block kills them.

    The processes are spawned, since a fork copies a library's state but not its threads.
    initialise: called once in each process. Raises ValueError, see `check_jobs`; RuntimeError if a
    process is killed or crashes.
    """
    check_jobs(jobs)
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'), as_worker, (initialise,))
    try:
        yield pool
    except BaseException as error:
        # A normal shutdown would first finish all waiting tasks, which may take hours.
        processes = list((getattr(pool, '_processes', None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        if isinstance(error, BrokenProcessPool):
            raise RuntimeError(WORKER_ENDED) from error
        raise
    pool.shutdown()


def as_worker(initialise: Callable[[], None] | None = None) -> None:
    """Make this process a worker: it ignores SIGINT and SIGHUP, and ends when its parent ends.

    Ctrl-C goes to all processes of a terminal; the parent then ends the workers quietly.
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
