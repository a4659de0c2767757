# SPDX-License-Identifier: Apache-2.0
"""Chooses among candidates: the fastest that gives the answers which are stored with the model."""

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

SECONDS = 0.6
"""Time limit for timing all candidates together, s; a turn that has begun is finished."""

LOG = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """A loaded engine."""

    engine: Engine
    reason: str
    """One line for people: which engine runs, and why."""


class Trials:
    """Loads candidates and puts them to the self-test; remembers why some failed."""

    def __init__(self, model: Model, load: Callable[[Candidate], Engine]) -> None:
        self.failures: dict[Candidate, str] = {}
        self._model, self._load = model, load

    def run(self, candidate: Candidate) -> Engine | None:
        """Return the candidate's engine, None if it does not load or pass. Raises ModelError."""
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
        """Why each failed; what an engine says of two precisions alike is told once."""
        told = [f'{candidate.engine}: {reason}' for candidate, reason in self.failures.items()]
        return '; '.join(dict.fromkeys(told))


def choose(
    model: Model,
    load: Callable[[Candidate], Engine],
    candidates: Candidates,
    threads: int,
    use_cache: bool = True,
) -> Chosen:
    """Return the best candidate's engine, loaded.

    An engine that is built for a GPU wins as soon as it passes the self-test, untimed: it takes a
    fraction of a CPU's time, and whatever else were to be timed would have to be built for minutes.
    threads: with which `load` loads, for the cache. use_cache: False to time anew.
    Raises EngineError, saying why each failed; ModelError.
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
            why = 'no faster engine passed the self-test (hcat doctor tells why)'
            return Chosen(engine, f'{describe(engine)}: {why}')
    raise EngineError(trials.reasons)


def describe(engine: Engine) -> str:
    """Return what an engine is, in words."""
    card = engine.card
    return f'{card.model} in {card.runtime} {card.runtime_version} {card.precision}'


def _choose_fastest(
    model: Model, trials: Trials, candidates: Sequence[Candidate], threads: int, use_cache: bool
) -> Chosen | None:
    """Return the fastest of those that pass, None if none does."""
    if not candidates:
        return None
    key = timing_key(model.card, candidates, threads)
    if use_cache and (timing := read_timing(key)) is not None:
        best = timing.ranking[0]
        if best.candidate.precision == 'int8':
            # A damaged model is refused, also where the damage is in the graph that lost.
            model.file(SEARCH_FILE)
        engine = trials.run(best.candidate)
        if engine is not None and engine.card.runtime_version == best.version:
            return Chosen(engine, f'{_explain(engine, timing)}, timed on {timing.day}')
        LOG.debug('%s was the fastest on %s and is not what is here now', best, timing.day)
    passed = {}
    for candidate in candidates:
        if (engine := trials.run(candidate)) is not None:
            passed[candidate] = engine
    if len(passed) < 2:
        for engine in passed.values():
            why = f'the only one of {len(candidates)} that passed the self-test'
            return Chosen(engine, f'{describe(engine)}: {why}')
        return None
    times = time_searches(list(passed.values()), SECONDS)
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
