# SPDX-License-Identifier: Apache-2.0
"""Times systems in several runtimes in turns, each runtime in a process of its own.

A system is a network of the paper's tables: HCAT, TransT, an ablation. `engines.timing` says why
rows take turns and why a process rests before its turn. Runtimes have processes of their own here
because their thread pools keep the processors that they first find, and because OpenVINO and
PyTorch in one process have ended with SIGSEGV.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines import Engine, EngineError, load_engine
from hcat_ros.engines.self_test import self_test
from hcat_ros.engines.timing import TimedTurn, rest, rotate, take_turn
from hcat_ros.evaluation.paper.systems import Cost
from hcat_ros.evaluation.reference_engine import ReferenceEngine, ReferenceGraphs
from hcat_ros.evaluation.speed import pin_to_processors
from hcat_ros.evaluation.workers import as_worker
from hcat_ros.models import REFERENCE_FILE, Model, load_model

AUTHORS, OURS = 'authors', 'ours'
"""Forms of a network: the authors' graph, and ours, which computes the template's part once."""
RUNTIMES = ('torch', 'onnxruntime', 'openvino')
MOST = 10
"""Largest number of calls of a turn that count."""

Call = Callable[[], float]
"""Function that runs a network once on a search region and returns the network's own time, s."""


class Prepared(NamedTuple):
    """A system's files and cost."""

    name: str
    cost: Cost
    model: str
    """Folder of the exported model."""
    graphs: ReferenceGraphs
    """Graphs of the authors' form."""


class TimedRow(NamedTuple):
    """A system in a runtime and a form."""

    system: str
    runtime: str
    form: str


class Job(NamedTuple):
    """The systems that the process of one runtime loads."""

    runtime: str
    systems: Sequence[Prepared]
    threads: int
    """Number of threads; 0: the runtime's own choice."""


class Loaded(NamedTuple):
    """Result of loading a job: a timed call for each row."""

    calls: dict[TimedRow, Call]
    missing: dict[str, str]
    """Reasons why rows failed to load, by 'system, runtime, form'."""


class TurnTimes(NamedTuple):
    """Times of the rows that completed every round."""

    seconds: dict[TimedRow, NDArray[np.float64]]
    """Median call of each turn, (rounds,), s."""
    missing: dict[str, str]
    """Reasons why other rows are missing, by 'system, runtime, form' or by the runtime whose
    process ended."""
    rested: bool
    """Whether each process came to rest before each of its turns."""


def load_runtime(job: Job) -> Loaded:
    """Load the systems into ONNX Runtime or OpenVINO; only ONNX Runtime has the authors' form."""
    return load_systems(job, authors_form if job.runtime == 'onnxruntime' else None)


def authors_form(system: Prepared, _: Model, threads: int) -> Engine:
    """Return an engine for the authors' form in ONNX Runtime."""
    return ReferenceEngine(system.graphs, threads)


def load_systems(job: Job, authors: Callable[[Prepared, Model, int], Engine] | None) -> Loaded:
    """Load both forms of each system; forms that fail the self-test are left out.

    authors: function that makes the authors' form; None: the runtime has only our form.
    """
    found = Loaded({}, {})
    for system in job.systems:
        model = load_model(system.model)
        makers: dict[str, Callable[[], Engine]] = {}
        if authors is not None:
            makers[AUTHORS] = _bind(authors, system, model, job.threads)
        makers[OURS] = _bind(load_engine, model, job.runtime, 'fp32', job.threads)
        for form, make in makers.items():
            row = TimedRow(system.name, job.runtime, form)
            try:
                engine = make()
                self_test(engine, model)
                found.calls[row] = _call(engine, model)
            except EngineError as error:
                found.missing[f'{system.name}, {job.runtime}, {form}'] = str(error)
    return found


def _bind(function: Callable[..., Engine], *arguments: Any) -> Callable[[], Engine]:
    return lambda: function(*arguments)


def _call(engine: Engine, model: Model) -> Call:
    with np.load(model.file(REFERENCE_FILE)) as crops:
        template, search = crops['template'], crops['search']
    features = engine.template(template)

    def call() -> float:
        started = time.perf_counter()
        engine.search(search, features)
        taken = time.perf_counter() - started
        # Subtract the normalisation of the image, which runs before the authors' graph.
        return taken - float(getattr(engine, 'preparing', 0.0))

    return call


class Worker:
    """A process that loads a job's systems and times one of them per request."""

    def __init__(self, job: Job, load: Callable[[Job], Loaded]) -> None:
        """Start the process. load: a module's function, which is pickled and called in it."""
        self.runtime = job.runtime
        self.rows: list[TimedRow] = []
        self.missing: dict[str, str] = {}
        spawn = multiprocessing.get_context('spawn')
        self._pipe, other = spawn.Pipe()
        self._process = spawn.Process(target=_work, args=(other, load, job), daemon=True)
        # Thread pools take their size from the processors that they find when they start.
        with pin_to_processors(job.threads):
            self._process.start()
        other.close()

    def wait(self) -> None:
        """Wait until the process has loaded its systems, and set `rows` and `missing`."""
        answer = self._answer()
        if answer is not None:
            self.rows, self.missing = answer

    def turn(self, row: TimedRow, seconds: float) -> TimedTurn | None:
        """Return the times of a turn.

        If the process has failed, return None; `missing` then holds the reason and `rows` is empty.
        """
        with contextlib.suppress(OSError):  # the process has ended; `_answer` records the reason
            self._pipe.send((row, seconds))
        answer: TimedTurn | None = self._answer()
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(10)
            self._fail(f'its process ended with code {self._process.exitcode}')
            return None
        if isinstance(answer, Exception):
            self._fail(str(answer))
            return None
        return answer

    def _fail(self, reason: str) -> None:
        self.rows = []
        self.missing[self.runtime] = reason


def _work(pipe: Connection, load: Callable[[Job], Loaded], job: Job) -> None:
    as_worker()
    try:
        calls, missing = load(job)
        pipe.send((list(calls), missing))
        while True:
            row, seconds = pipe.recv()
            turn = take_turn(calls[row], MOST, seconds=seconds)
            rest()  # before the answer, since the next turn may be another process's
            pipe.send(turn)
    except (EOFError, ConnectionError):  # the parent has ended
        return
    except (OSError, ValueError, RuntimeError) as error:
        pipe.send(RuntimeError(str(error)))


def measure(
    jobs: Mapping[str, tuple[Job, Callable[[Job], Loaded]]],
    rounds: int,
    seconds: float,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> TurnTimes:
    """Time all rows in `rounds` rounds, a turn of about `seconds` each.

    jobs: by runtime, each with the function that loads it. Each round takes the systems in another
    order. All rows of a system follow each other, so that compared rows are close in time.
    progress: wraps the rounds, as `tqdm` does.
    """
    workers: list[Worker] = []
    try:
        for job, load in jobs.values():
            workers.append(Worker(job, load))
        for worker in workers:
            worker.wait()
        found: dict[TimedRow, list[float]] = {row: [] for worker in workers for row in worker.rows}
        rested = True
        for number in progress(range(rounds)):
            for row in _order(list(found), number):
                worker = next(w for w in workers if w.runtime == row.runtime)
                turn = worker.turn(row, seconds) if worker.rows else None
                if turn is not None:
                    found[row].append(float(np.median(turn.seconds)))
                    rested &= turn.rested
        missing = {what: why for worker in workers for what, why in worker.missing.items()}
    finally:
        for worker in workers:
            worker.close()
    whole = {row: np.array(times) for row, times in found.items() if len(times) == rounds}
    return TurnTimes(whole, missing, rested)


def _order(rows: list[TimedRow], number: int) -> list[TimedRow]:
    """Return the rows of a round: the systems shuffled, the rows of each system rotated."""
    systems = list(dict.fromkeys(row.system for row in rows))
    random.Random(number).shuffle(systems)
    order = []
    for system in systems:
        order += rotate([row for row in rows if row.system == system], number)
    return order
