# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest

from hcat_ros.nodes.follower.dead_man import DeadMan


class Stops:
    """Counts stops, and waits for one."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.came = threading.Event()

    def stop(self) -> None:
        self.times.append(time.monotonic())
        self.came.set()


@pytest.fixture
def stops() -> Stops:
    return Stops()


@pytest.fixture
def dead_man(stops: Stops):
    made = DeadMan(stops.stop)
    yield made
    made.end()


def test_missed_deadline_stops_repeatedly(dead_man: DeadMan, stops: Stops) -> None:
    deadline = time.monotonic() + 0.05
    dead_man.moving_until(deadline)
    assert stops.came.wait(30)
    stops.came.clear()
    assert stops.came.wait(30), 'sent again while nobody answers'
    assert stops.times[0] >= deadline
    dead_man.moving_until(None)


def test_extended_or_removed_deadline_does_not_stop(dead_man: DeadMan, stops: Stops) -> None:
    for _ in range(20):
        dead_man.moving_until(time.monotonic() + 20)
        time.sleep(0.01)
    dead_man.moving_until(None)
    assert not stops.came.wait(0.3)


def test_earlier_deadline_takes_effect_at_once(dead_man: DeadMan, stops: Stops) -> None:
    dead_man.moving_until(time.monotonic() + 3600)
    dead_man.moving_until(time.monotonic() + 0.05)
    assert stops.came.wait(30)


def test_dead_man_thread_does_not_keep_its_owner_alive() -> None:
    stops, before = Stops(), set(threading.enumerate())
    made, gone = DeadMan(stops.stop), weakref.ref(stops)
    (thread,) = set(threading.enumerate()) - before
    made.moving_until(time.monotonic() + 3600)
    del stops
    gc.collect()
    assert gone() is None
    thread.join(30)
    assert not thread.is_alive()
