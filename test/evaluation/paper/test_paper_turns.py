# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hcat_ros.evaluation.paper.systems import Cost
from hcat_ros.evaluation.paper.turns import (
    AUTHORS,
    MOST,
    OURS,
    Job,
    Loaded,
    Prepared,
    TimedRow,
    TurnTimes,
    measure,
)
from hcat_ros.evaluation.reference_engine import ReferenceGraphs

MS = 1e-3


def systems(*names: str) -> list[Prepared]:
    """Return systems without files, for loaders that open no files."""
    graphs = ReferenceGraphs('', Path(), Path(), 128, 256, 16, (0, 0, 0), (1, 1, 1), 0)
    return [Prepared(name, Cost(1, 1, 1, 1), '', graphs) for name in names]


def load_two(job: Job) -> Loaded:
    """Load calls that report 1 ms in one form and 2 ms in the other; b lacks the second form."""
    calls = {}
    for system in job.systems:
        calls[TimedRow(system.name, job.runtime, AUTHORS)] = lambda: 1 * MS
        calls[TimedRow(system.name, job.runtime, OURS)] = lambda: 2 * MS
    missing = {'b, ours': 'no reason'}
    calls.pop(TimedRow('b', job.runtime, OURS), None)
    return Loaded(calls, missing)


def load_numbered(job: Job) -> Loaded:
    """Load a call that reports 0, 1, 2, ... ms."""
    numbers = iter(range(1000))
    return Loaded({TimedRow('a', job.runtime, OURS): lambda: next(numbers) * MS}, {})


def load_nothing(job: Job) -> Loaded:
    raise RuntimeError(f'{job.runtime} is not for this machine')


def load_mortal(job: Job) -> Loaded:
    """Load a call that ends its process at the fifth call."""
    numbers = iter(range(1000))

    def call() -> float:
        if next(numbers) == 4:
            os._exit(7)
        return MS

    return Loaded({TimedRow('a', job.runtime, OURS): call}, {})


def times(rounds: int, **loaders: object) -> TurnTimes:
    jobs = {name: (Job(name, systems('a', 'b'), 1), load) for name, load in loaders.items()}
    return measure(jobs, rounds, MS / 2)  # type: ignore[arg-type]


def test_all_rows_of_all_runtimes_are_timed_in_each_round() -> None:
    found = times(3, one=load_two, two=load_two)
    expected = {
        TimedRow(name, runtime, form): value
        for runtime in ('one', 'two')
        for name, form, value in (('a', AUTHORS, MS), ('a', OURS, 2 * MS), ('b', AUTHORS, MS))
    }
    assert {row: seconds.tolist() for row, seconds in found.seconds.items()} == {
        row: [value] * 3 for row, value in expected.items()
    }
    assert found.missing == {'b, ours': 'no reason'}


def test_a_turn_warms_up_and_takes_the_median_of_the_calls_that_fit() -> None:
    (job,) = [Job('one', systems('a'), 0)]
    found = measure({'one': (job, load_numbered)}, 2, 0.01)
    # Calls 0-2 warm up; 3-5 take over 10 ms. Then 6 and 7 warm up; 8 and 9 are timed.
    np.testing.assert_allclose(found.seconds[TimedRow('a', 'one', OURS)], [4 * MS, 8.5 * MS])
    assert MOST > 4


def test_a_failed_runtime_is_named_and_the_others_are_measured() -> None:
    found = times(3, bad=load_nothing, mortal=load_mortal, good=load_two)
    assert {row.runtime for row in found.seconds} == {'good'}
    assert all(len(seconds) == 3 for seconds in found.seconds.values())
    assert found.missing['bad'] == 'bad is not for this machine'
    assert found.missing['mortal'] == 'its process ended with code 7'


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='needs Linux')
def test_measuring_leaves_the_cpu_affinity_unchanged() -> None:
    before = os.sched_getaffinity(0)
    times(1, one=load_two)
    assert os.sched_getaffinity(0) == before
