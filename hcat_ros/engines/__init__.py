# SPDX-License-Identifier: Apache-2.0
"""Inference runtimes behind one interface, `Engine`. A runtime is imported when it is asked for."""

from __future__ import annotations

import importlib
import os

from hcat_ros.engines.base import Engine, EngineCard, EngineError, Features, Prediction
from hcat_ros.models import DEFAULT_MODEL, Model, load_model

__all__ = [
    'ENGINES',
    'Engine',
    'EngineCard',
    'EngineError',
    'Features',
    'Prediction',
    'load_engine',
]

# Name to module and class, in the order in which 'auto' tries them.
ENGINES = {'onnxruntime': ('hcat_ros.engines.onnxruntime_engine', 'OnnxRuntimeEngine')}


def load_engine(
    model: Model | str | os.PathLike[str] = DEFAULT_MODEL,
    engine: str = 'auto',
    precision: str = 'auto',
    threads: int = 0,
) -> Engine:
    """Load a model, given by name or folder, into a runtime.

    engine: a key of `ENGINES`, or 'auto' for the first of them that loads. precision: 'auto'
    or one that the runtime has. threads: CPU threads, 0 for one a physical core.

    Raises EngineError, saying why each runtime that was tried did not load; ModelError.
    """
    if engine not in ('auto', *ENGINES):
        raise EngineError(f"no engine '{engine}'; there are auto, {', '.join(ENGINES)}")
    if not isinstance(model, Model):
        model = load_model(model)
    reasons = []
    for name in ENGINES if engine == 'auto' else (engine,):
        module, class_name = ENGINES[name]
        try:
            loaded: Engine = getattr(importlib.import_module(module), class_name)(
                model, precision=precision, threads=threads
            )
            return loaded
        except EngineError as error:
            reasons.append(f'{name}: {error}')
    raise EngineError('; '.join(reasons))
