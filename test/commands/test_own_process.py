# SPDX-License-Identifier: Apache-2.0
"""Functions in real child processes that return, fail, crash, hang or are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from hcat_ros.commands import own_process
from hcat_ros.commands.own_process import ProcessError, in_own_process


def test_the_function_runs_in_another_process() -> None:
    assert in_own_process(os.getpid) != os.getpid()
    assert in_own_process(divmod, 7, 2) == (3, 1)


@pytest.mark.parametrize(
    ('function', 'arguments', 'kind', 'text'),
    [
        (int, ('seven',), ValueError, 'seven'),
        (os.listdir, ('/nowhere',), FileNotFoundError, '/nowhere'),
    ],
)
def test_an_exception_is_raised_in_the_calling_process(
    function: Any, arguments: tuple[Any, ...], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        in_own_process(function, *arguments)


def test_a_bug_keeps_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProcessError, match='its process ended with code 1'):
        in_own_process(divmod, 1, 'two')
    assert 'TypeError: unsupported operand' in capfd.readouterr().err


def killed(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize('number', [signal.SIGSEGV, signal.SIGKILL], ids=str)
def test_a_killed_process_is_reported_with_its_signal(number: int) -> None:
    with pytest.raises(ProcessError) as error:
        in_own_process(killed, number)
    assert str(error.value) == f'its process ended by {signal.Signals(number).name}'


def test_a_process_that_exits_is_reported_with_its_code() -> None:
    with pytest.raises(ProcessError, match='its process ended with code 3'):
        in_own_process(sys.exit, 3)


def test_a_process_that_hangs_is_stopped_at_the_limit() -> None:
    started = time.monotonic()
    with pytest.raises(ProcessError, match=r'gave no answer within 0\.5 s'):
        in_own_process(time.sleep, 300, limit=0.5)
    assert time.monotonic() - started < 60
    assert not multiprocessing.active_children()


def test_ctrl_c_ends_both_processes_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """The terminal sends SIGINT to parent and child."""
    with pytest.raises(KeyboardInterrupt):
        in_own_process(interrupted, os.getpid())
    assert not multiprocessing.active_children()
    assert 'Traceback' not in capfd.readouterr().err


def interrupted(parent: int) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(parent, signal.SIGINT)
    time.sleep(300)


def answered_but_busy() -> int:
    threading.Thread(target=time.sleep, args=(300,)).start()  # Python waits for this thread at exit
    return 7


def test_an_answer_counts_even_if_the_process_does_not_exit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(own_process, 'CLEANING', 0.1)
    assert in_own_process(answered_but_busy) == 7
    assert not multiprocessing.active_children()
