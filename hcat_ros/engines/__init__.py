# SPDX-License-Identifier: Apache-2.0
"""Inference runtimes behind one interface, `Engine`. A runtime is imported only when it is needed.

`load_engine` loads an engine by name, or chooses the fastest correct one. The candidates are the
installed engines in the precisions that the model's card accepts. Each candidate must reproduce the
answers stored with the model (`self_test`). A short timing then finds the fastest of those that do,
and `timing_cache` remembers the result for this machine.
"""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

from hcat_ros.engines.base import (
    MOST_THREADS,
    Engine,
    EngineCard,
    EngineError,
    Features,
    Prediction,
    check_threads,
)
from hcat_ros.engines.candidates import Candidate, conflict, find_candidates
from hcat_ros.engines.engine_choice import Chosen, choose, describe
from hcat_ros.engines.self_test import self_test
from hcat_ros.models import DEFAULT_MODEL, Model, load_model

__all__ = [
    'ENGINES',
    'MOST_THREADS',
    'Engine',
    'EngineCard',
    'EngineError',
    'Features',
    'Prediction',
    'check_threads',
    'choose_engine',
    'load_engine',
]

LOG = logging.getLogger(__name__)

# Engine name to module and class, GPU engines first; `candidates` says how they compete.
ENGINES = {
    'tensorrt': ('hcat_ros.engines.tensorrt_engine', 'TensorRtEngine'),
    'onnxruntime-tensorrt': ('hcat_ros.engines.onnxruntime_engine', 'OnnxRuntimeTensorRtEngine'),
    'onnxruntime-cuda': ('hcat_ros.engines.onnxruntime_engine', 'OnnxRuntimeCudaEngine'),
    'onnxruntime': ('hcat_ros.engines.onnxruntime_engine', 'OnnxRuntimeEngine'),
    'openvino': ('hcat_ros.engines.openvino_engine', 'OpenVinoEngine'),
    'ncnn': ('hcat_ros.engines.ncnn_engine', 'NcnnEngine'),
    'torch': ('hcat_ros.engines.torch_engine', 'TorchEngine'),
}


def load_engine(
    model: Model | str | os.PathLike[str] = DEFAULT_MODEL,
    engine: str = 'auto',
    precision: str = 'auto',
    threads: int = 0,
    build_if_missing: bool = True,
    workspace: int | None = None,
    dla: int | None = None,
) -> Engine:
    """Load a model, given by name or folder, into a runtime.

    engine: a key of `ENGINES`, or 'auto'. precision: a precision of the runtime, or 'auto'. 'auto'
    picks the fastest candidate that passes the self-test, in float or, if the model's card accepts
    it, in int8 (see `choose`). An engine chosen by name must pass the self-test too. threads: CPU
    threads, 0 for one per physical core. build_if_missing: whether TensorRT may build plans that
    its cache lacks, which takes minutes. workspace: memory limit of a TensorRT kernel, MiB; None
    for no limit. dla: core of the deep learning accelerator, which only TensorRT supports; None
    for the GPU.

    The logger `hcat_ros` reports at level INFO which engine was chosen and why, and the progress of
    a build; at DEBUG which candidates were passed over and why. Raises ModelError, and EngineError
    that says why each candidate failed.
    """
    building = {'build_if_missing': build_if_missing, 'workspace': workspace, 'dla': dla}
    return choose_engine(model, engine, precision, threads, building).engine


def choose_engine(
    model: Model | str | os.PathLike[str],
    engine: str,
    precision: str,
    threads: int,
    building: dict[str, Any],
    use_cache: bool = True,
) -> Chosen:
    """Return the engine that `load_engine` returns, with the reason for the choice.

    building: the arguments that only TensorRT takes. use_cache: False to time the candidates again.
    """
    if engine not in ('auto', *ENGINES):
        raise EngineError(f"no engine '{engine}'; there are auto, {', '.join(ENGINES)}")
    if not isinstance(model, Model):
        model = load_model(model)
    names = tuple(ENGINES) if engine == 'auto' else (engine,)
    if (dla := building.get('dla')) is not None:
        if 'tensorrt' not in names:
            raise EngineError(f'{engine}: has no DLA core {dla}; leave it out, or take tensorrt')
        names = ('tensorrt',)
    if engine == 'auto':
        names = tuple(name for name in names if not _is_excluded(name))

    def load(candidate: Candidate) -> Engine:
        module, class_name = ENGINES[candidate.engine]
        options: dict[str, Any] = {'precision': candidate.precision, 'threads': threads}
        if candidate.engine == 'tensorrt':
            options.update(building)
        loaded: Engine = getattr(importlib.import_module(module), class_name)(model, **options)
        return loaded

    candidates = find_candidates(names, precision, model.card)
    if engine != 'auto' and len(candidates.all) == 1:
        try:
            loaded = load(candidates.all[0])
            self_test(loaded, model)
        except EngineError as error:
            raise EngineError(f'{engine}: {error}') from error
        chosen = Chosen(loaded, f'{describe(loaded)}, as asked for')
        LOG.debug('%s', chosen.reason)
        return chosen
    chosen = choose(model, load, candidates, threads, use_cache)
    LOG.info('%s', chosen.reason)
    return chosen


def _is_excluded(name: str) -> bool:
    """Return whether an engine must not be chosen in this process; log the reason."""
    if reason := conflict(name):
        LOG.debug('passed over %s: %s', name, reason)
    return bool(reason)
