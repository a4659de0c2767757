# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from hcat_ros.engines import EngineCard, EngineError, Prediction
from hcat_ros.engines.timing import BLOCK, LEAD, rest, rotate, take_turn, time_searches


class Sleeping:
    """An engine whose searches take at least `seconds`."""

    card = EngineCard('sleeping', 'test double', '0', 'fp32', 128, 256, 16)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def template(self, crop: np.ndarray) -> str:
        assert crop.shape == (128, 128, 3)
        return 'features'

    def search(self, crop: np.ndarray, features: str) -> Prediction:
        assert (crop.shape, features) == ((256, 256, 3), 'features')
        time.sleep(self.seconds)
        return Prediction(np.zeros((16, 16)), np.zeros((256, 4)))


def test_a_single_engine_is_timed_in_whole_blocks() -> None:
    (times,) = time_searches([Sleeping(0.002)], 0.1)
    assert len(times) % BLOCK == 0
    assert times.min() >= 0.002


def test_an_engine_that_cannot_win_is_timed_for_one_block_only() -> None:
    slow, fast = time_searches([Sleeping(0.1), Sleeping(0.0)], 3600.0)
    assert len(slow) == len(fast) == BLOCK
    assert np.median(fast) < np.median(slow)


def test_equally_fast_engines_alternate_until_the_time_is_over() -> None:
    one, other = time_searches([Sleeping(0.02), Sleeping(0.02)], 0.0)
    assert len(one) == len(other) == BLOCK


def test_the_failure_of_an_engine_is_raised() -> None:
    class Failing(Sleeping):
        def search(self, crop: np.ndarray, features: str) -> Prediction:
            raise EngineError('out of memory')

    with pytest.raises(EngineError, match='out of memory'):
        time_searches([Failing(0.0)], 0.1)


def test_a_thread_that_never_rests_does_not_block_the_timing() -> None:
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        assert not rest(limit=0.1)
        assert len(time_searches([Sleeping(0.0)], 0.0)[0]) == BLOCK
    finally:
        stop.set()
        thread.join()


def test_rest_waits_until_other_threads_finish() -> None:
    end = threading.Event()

    def spin() -> None:
        while not end.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        assert not rest(limit=0.1)
        threading.Timer(0.05, end.set).start()
        assert rest(limit=30)
        assert end.is_set()
    finally:
        end.set()
        thread.join()


def test_warm_up_calls_of_a_turn_are_not_counted() -> None:
    numbers = iter(range(100))
    turn = take_turn(lambda: float(next(numbers)), 4)
    assert turn.seconds.tolist() == [LEAD, LEAD + 1, LEAD + 2, LEAD + 3]
    assert turn.rested


def test_a_turn_ends_after_its_time_but_counts_at_least_one_call() -> None:
    assert take_turn(lambda: 1.0, 10, seconds=2.5).seconds.tolist() == [1.0, 1.0, 1.0]
    numbers = iter([9.0, 7.0])
    assert take_turn(lambda: next(numbers), 10, seconds=2.5).seconds.tolist() == [7.0]


def test_a_turn_records_the_time_of_each_stage() -> None:
    turn = take_turn(lambda: (1.0, 2.0), 3, seconds=4.0)
    assert turn.seconds.tolist() == [[1.0, 2.0], [1.0, 2.0]]


def test_rotate_starts_each_round_with_another_item() -> None:
    assert [rotate('abc', number) for number in (0, 1, 5)] == [
        ['a', 'b', 'c'],
        ['b', 'c', 'a'],
        ['c', 'a', 'b'],
    ]
    assert rotate([], 3) == []
