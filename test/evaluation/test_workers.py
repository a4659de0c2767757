# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hcat_ros.evaluation.workers import worker_pool

PARENT = """
import os, sys, time
from hcat_ros.evaluation.workers import worker_pool

def work(path):
    with open(path, 'w') as file:
        file.write(str(os.getpid()))
    time.sleep(600)

if __name__ == '__main__':
    with worker_pool(2) as pool:
        for task in [pool.submit(work, path) for path in sys.argv[1:]]:
            task.result()
"""


def lives(process: int) -> bool:
    """Return whether a process exists and is not a zombie, which has ended already."""
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / 'parent.py').write_text(PARENT)
    files = [tmp_path / '1', tmp_path / '2']
    parent = subprocess.Popen([sys.executable, tmp_path / 'parent.py', *files])
    workers: list[int] = []
    try:
        deadline = time.monotonic() + 60
        while not all(path.is_file() and path.read_text() for path in files):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        workers = [int(path.read_text()) for path in files]
        assert all(map(lives, workers))
        parent.send_signal(number)
        parent.wait(60)
        deadline = time.monotonic() + 60
        while any(map(lives, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(lives, workers))
    finally:
        parent.kill()
        for worker in filter(lives, workers):
            os.kill(worker, signal.SIGKILL)


def fail() -> None:
    raise ValueError('of a task')


def test_an_error_in_one_task_ends_the_other_tasks_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ValueError, match='of a task'), worker_pool(2) as pool:  # noqa: PT012
        waiting = [pool.submit(time.sleep, 600), pool.submit(fail)]
        waiting[1].result()
    assert time.monotonic() - started < 300


def test_a_worker_that_is_killed_is_reported_with_the_remedy() -> None:
    """As by the kernel, when memory runs out."""
    with (
        pytest.raises(RuntimeError, match=r'was killed, .* or has crashed; run the command again'),
        worker_pool(1) as pool,
    ):
        pool.submit(signal.raise_signal, signal.SIGKILL).result()
