# SPDX-License-Identifier: Apache-2.0
"""Chooses an engine: TensorRT if it passes the self-test, else the fastest engine that passes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hcat_ros.engines.base import Engine, EngineError
from hcat_ros.engines.candidates import Candidate, Candidates
from hcat_ros.engines.self_test import self_test
from hcat_ros.engines.timing import time_searches
from hcat_ros.engines.timing_cache import Timed, Timing, read_timing, timing_key, write_timing
from hcat_ros.models import SEARCH_FILE, Model, ModelError

TIMING_BUDGET = 0.6
"""Time limit for timing all candidates together, s; a turn that has begun is completed."""

LOG = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """The chosen engine, loaded."""

    engine: Engine
    reason: str
    """One line for people that says which engine runs and why."""


class Trials:
    """Loads candidates and runs the self-test on them; remembers why candidates failed."""

    def __init__(self, model: Model, load: Callable[[Candidate], Engine]) -> None:
        self.failures: dict[Candidate, str] = {}
        self._model, self._load = model, load

    def run(self, candidate: Candidate) -> Engine | None:
        """Return the candidate's engine, None if it fails to load or to pass. Raises ModelError."""
        try:
            engine = self._load(candidate)
            self_test(engine, self._model)
            return engine
        except ModelError:
            raise
        except EngineError as error:
            reason = str(error)
        except Exception as error:  # a broken installation can raise anything
            reason = f'{type(error).__name__}: {error}'
        self.failures[candidate] = reason
        LOG.debug('passed over %s: %s', candidate, reason)
        return None

    @property
    def reasons(self) -> str:
        """Why each candidate failed; a reason that holds for both precisions is listed once."""
        lines = [f'{candidate.engine}: {reason}' for candidate, reason in self.failures.items()]
        return '; '.join(dict.fromkeys(lines))


def choose(
    model: Model,
    load: Callable[[Candidate], Engine],
    candidates: Candidates,
    threads: int,
    use_cache: bool = True,
) -> Chosen:
    """Return the best candidate's engine, loaded.

    The first TensorRT candidate that passes the self-test wins untimed, because a GPU takes a
    fraction of a CPU's time and timing such candidates would mean building each for minutes.
    Otherwise the fastest `compared` candidate that passes wins, then the first `last` candidate
    that passes. threads: the number that `load` uses, here only part of the cache's key. use_cache:
    False to time the candidates again. Raises ModelError, and EngineError that says why each
    candidate failed.
    """
    trials = Trials(model, load)
    for candidate in candidates.built:
        if (engine := trials.run(candidate)) is not None:
            why = 'it passed the self-test, and an engine built for the GPU is not timed'
            return Chosen(engine, f'{describe(engine)}: {why}')
    fastest = _choose_fastest(model, trials, candidates.compared, threads, use_cache)
    if fastest is not None:
        return fastest
    for candidate in candidates.last:
        if (engine := trials.run(candidate)) is not None:
            why = 'no faster engine passed the self-test (hcat doctor says why)'
            return Chosen(engine, f'{describe(engine)}: {why}')
    raise EngineError(trials.reasons)


def describe(engine: Engine) -> str:
    """Return a short text that names an engine's model, runtime, version and precision."""
    card = engine.card
    return f'{card.model} in {card.runtime} {card.runtime_version} {card.precision}'


def _choose_fastest(
    model: Model, trials: Trials, candidates: Sequence[Candidate], threads: int, use_cache: bool
) -> Chosen | None:
    """Return the fastest candidate that passes the self-test, None if none passes."""
    if not candidates:
        return None
    key = timing_key(model.card, candidates, threads)
    if use_cache and (timing := read_timing(key)) is not None:
        best = timing.ranking[0]
        if best.candidate.precision == 'int8':
            # INT8 engines do not read the float graph. Check it, to reject a damaged model.
            model.file(SEARCH_FILE)
        engine = trials.run(best.candidate)
        if engine is not None and engine.card.runtime_version == best.version:
            return Chosen(engine, f'{_explain(engine, timing)}, timed on {timing.day}')
        why = trials.failures.get(best.candidate, 'its version has changed')
        LOG.debug('%s, the fastest on %s, is not used (%s): timing again', best, timing.day, why)
    passed = {}
    for candidate in candidates:
        if candidate in trials.failures:
            continue
        if (engine := trials.run(candidate)) is not None:
            passed[candidate] = engine
    if len(passed) < 2:
        for engine in passed.values():
            why = f'the only one of {len(candidates)} that passed the self-test'
            return Chosen(engine, f'{describe(engine)}: {why}')
        return None
    times = time_searches(list(passed.values()), TIMING_BUDGET)
    ranking = sorted(
        (
            Timed(candidate, engine.card.runtime_version, 1e3 * float(np.median(found)))
            for (candidate, engine), found in zip(passed.items(), times)
        ),
        key=lambda timed: timed.milliseconds,
    )
    timing = write_timing(key, ranking)
    engine = passed[ranking[0].candidate]
    return Chosen(engine, _explain(engine, timing))


def _explain(engine: Engine, timing: Timing) -> str:
    best, *others = timing.ranking
    text = f'{describe(engine)}, {best.milliseconds:.1f} ms a search: the fastest'
    listed = ', '.join(str(timed) for timed in others)
    return f'{text} of {len(timing.ranking)} that passed the self-test ({listed})'
