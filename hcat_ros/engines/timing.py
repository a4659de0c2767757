# SPDX-License-Identifier: Apache-2.0
"""Times the searches of engines in turn, so that the comparison holds on a machine that is busy.

Runtimes keep their worker threads spinning for a while after a call, in case another one follows
(ONNX Runtime for about 20 ms of processor time), and those threads take the processor from the next
engine. So before each turn the process rests until none of its other threads runs.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import Engine

LEAD, BLOCK = 2, 4
"""Searches of a turn that do not count (cold caches), and that do."""
HOPELESS = 1.5
"""Engines that take this many times as long as the fastest get no further turn."""
REST_LIMIT = 1.0
"""Seconds after which a process whose threads never rest is measured all the same."""
SHORT_REST = 0.05
"""Rest between the turns of engines where other threads of the process must not wait for long,
s."""


def time_searches(engines: Sequence[Engine], seconds: float) -> list[NDArray[np.float64]]:
    """Return how long searches took with each engine, in seconds.

    Each engine gets at least one turn; turns go on for about so many seconds in all, or until one
    engine is left that can be the fastest. Raises EngineError.
    """
    rng = np.random.default_rng(0)
    crops, features = [], []
    for engine in engines:
        card = engine.card
        sides = (card.template_size, card.search_size)
        template, search = (rng.integers(0, 256, (side, side, 3), np.uint8) for side in sides)
        crops.append(search)
        features.append(engine.template(template))
    times: list[list[float]] = [[] for _ in engines]
    running = list(range(len(engines)))
    end = time.perf_counter() + seconds
    while True:
        for index in running:
            rest(SHORT_REST)
            for count in range(LEAD + BLOCK):
                started = time.perf_counter()
                engines[index].search(crops[index], features[index])
                if count >= LEAD:
                    times[index].append(time.perf_counter() - started)
        medians = {index: float(np.median(times[index])) for index in running}
        limit = HOPELESS * min(medians.values())
        running = [index for index in running if medians[index] <= limit]
        decided = len(running) == 1 < len(engines)
        if decided or time.perf_counter() >= end:
            return [np.array(found) for found in times]


def rest(limit: float = REST_LIMIT) -> bool:
    """Wait until no other thread of this process runs; return whether that came to be."""
    if not Path('/proc/self/task').is_dir():
        time.sleep(0.05)  # longer than any runtime known spins
        return True
    own = str(threading.get_native_id())
    deadline = time.monotonic() + limit
    quiet = 0
    while quiet < 3:  # a thread between two turns may look asleep
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
        quiet = 0 if _running(own) else quiet + 1
    return True


def _running(own: str) -> bool:
    """Whether a thread but `own` runs or waits for a processor to run on."""
    for task in os.listdir('/proc/self/task'):
        if task != own:
            with contextlib.suppress(OSError):  # it has ended
                text = Path(f'/proc/self/task/{task}/stat').read_text()
                if text.rpartition(')')[2].split()[0] == 'R':  # the name may hold blanks
                    return True
    return False
