# SPDX-License-Identifier: Apache-2.0
"""Times engines, trackers and networks side by side so that their ratios hold on a busy machine.

The rows of a comparison take *turns* of several calls each. After a call, a runtime keeps its
worker threads spinning for a while in case another call follows (ONNX Runtime for about 20 ms of
processor time). These threads would slow the next row down, so before each turn the process *rests*
until none of its other threads runs. Spinning stays on, because the runtimes are measured with the
settings that the tracker uses. The first calls of a turn run on cold caches and do not count.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import Engine

LEAD = 3
"""Number of calls at the start of a turn that do not count."""
BLOCK = 4
"""Number of calls in an engine's turn that count."""
HOPELESS = 1.5
"""Engines that are slower than the fastest by more than this factor get no further turn."""
REST_LIMIT = 1.0
"""Longest rest before a turn, s; then the turn begins even if other threads still run."""
SHORT_REST = 0.05
"""Longest rest before a turn when other threads of the process must not wait for long, s."""

Row = TypeVar('Row')


class TimedTurn(NamedTuple):
    """Call times of one row's turn."""

    seconds: NDArray[np.float64]
    """Durations of the calls that count: (n,), or (n, stages)."""
    rested: bool
    """Whether the process came to rest before the turn."""


def take_turn(
    call: Callable[[], float | Sequence[float]],
    most: int,
    *,
    seconds: float = float('inf'),
    rest_limit: float = REST_LIMIT,
) -> TimedTurn:
    """Rest, warm up with `LEAD` calls, then time calls until `seconds` are over.

    call: does the work once and returns its duration in seconds, or the duration of each stage.
    most: largest number of timed calls; there is always at least one. seconds: time limit of the
    warm-up and, separately, of the timed calls. rest_limit: longest rest, s.
    """
    rested = rest(rest_limit)
    spent = 0.0
    for _ in range(LEAD):
        spent += float(np.sum(call()))
        if spent > seconds:
            break
    times = [call()]
    while len(times) < most and np.sum(times) < seconds:
        times.append(call())
    return TimedTurn(np.array(times, np.float64), rested)


def rotate(rows: Sequence[Row], number: int) -> list[Row]:
    """Return the rows in the order of round `number`. Each round begins with another row.

    In a fixed order each row would always follow the same row, whose threads may still be running.
    """
    first = number % len(rows) if rows else 0
    return [*rows[first:], *rows[:first]]


def time_searches(engines: Sequence[Engine], seconds: float) -> list[NDArray[np.float64]]:
    """Return the durations of searches with each engine, in seconds.

    Each engine gets at least one turn. Turns continue for about `seconds` in total, or until only
    one engine can still be the fastest. Raises EngineError.
    """
    rng = np.random.default_rng(0)
    calls = []
    for engine in engines:
        card = engine.card
        sides = (card.template_size, card.search_size)
        template, search = (rng.integers(0, 256, (side, side, 3), np.uint8) for side in sides)
        calls.append(_search_timer(engine, template, search))
    times: list[list[float]] = [[] for _ in engines]
    running = list(range(len(engines)))
    end = time.perf_counter() + seconds
    while True:
        for index in running:
            times[index] += take_turn(calls[index], BLOCK, rest_limit=SHORT_REST).seconds.tolist()
        medians = {index: float(np.median(times[index])) for index in running}
        limit = HOPELESS * min(medians.values())
        running = [index for index in running if medians[index] <= limit]
        decided = len(running) == 1 < len(engines)
        if decided or time.perf_counter() >= end:
            return [np.array(found) for found in times]


def _search_timer(
    engine: Engine, template: NDArray[np.uint8], search: NDArray[np.uint8]
) -> Callable[[], float]:
    """Return a function that searches once and returns the duration, s."""
    features = engine.template(template)

    def call() -> float:
        started = time.perf_counter()
        engine.search(search, features)
        return time.perf_counter() - started

    return call


def rest(limit: float = REST_LIMIT) -> bool:
    """Wait up to `limit` seconds until no other thread of this process runs; return whether so."""
    if not Path('/proc/self/task').is_dir():
        time.sleep(0.05)  # longer than the threads of any runtime that we know spin
        return True
    own = str(threading.get_native_id())
    deadline = time.monotonic() + limit
    quiet = 0
    while quiet < 3:  # a busy thread may look asleep for a moment
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
        quiet = 0 if _running(own) else quiet + 1
    return True


def _running(own: str) -> bool:
    """Return whether a thread other than `own` runs or waits for a processor."""
    for task in os.listdir('/proc/self/task'):
        if task != own:
            with contextlib.suppress(OSError):  # the thread has ended
                text = Path(f'/proc/self/task/{task}/stat').read_text()
                if text.rpartition(')')[2].split()[0] == 'R':  # the name may contain blanks
                    return True
    return False
