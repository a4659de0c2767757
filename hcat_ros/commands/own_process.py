# SPDX-License-Identifier: Apache-2.0
"""Runs a function in its own process, so that a crash or hang does not affect the caller."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from hcat_ros.evaluation.workers import as_worker

Result = TypeVar('Result')
CLEANING = 10.0
"""Seconds that a process has to end by itself after its answer."""


class ProcessError(RuntimeError):
    """A process ended without an answer, or gave none in time; the message says which."""


def in_own_process(
    function: Callable[..., Result], *arguments: Any, limit: float | None = None
) -> Result:
    """Return what a function returns in a new Python process, which shares nothing with this one.

    function: function at a module's top level; limit: seconds until the process is killed, None for
    no limit. Raises the OSError, ValueError or RuntimeError that the function raised; ProcessError
    after the limit, and if the process ended without an answer, because of a signal or another
    exception, whose traceback is then on standard error.
    """
    spawn = multiprocessing.get_context('spawn')
    receiving, sending = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_answer, args=(sending, function, arguments))
    process.start()
    sending.close()  # so that recv() fails when the process ends
    try:
        if not receiving.poll(limit):
            raise ProcessError(f'its process gave no answer within {limit:g} s')
        answer, error = receiving.recv()
        process.join(CLEANING)
    except (EOFError, OSError):  # OSError: it ended in the middle of the answer
        process.join()
        raise ProcessError(f'its process ended {_describe_exit(process.exitcode or 0)}') from None
    finally:
        process.kill()
        process.join()
        receiving.close()
    if error is not None:
        raise error
    result: Result = answer
    return result


def _answer(sending: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    as_worker()
    answer: tuple[Any, Exception | None]
    try:
        answer = (function(*arguments), None)
    except (OSError, ValueError, RuntimeError) as error:
        answer = (None, error)
    sending.send(answer)


def _describe_exit(code: int) -> str:
    """Return a process's exit code in words."""
    if code >= 0:
        return f'with code {code}'
    try:
        return f'by {signal.Signals(-code).name}'
    except ValueError:
        return f'by signal {-code}'
