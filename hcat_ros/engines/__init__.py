# SPDX-License-Identifier: Apache-2.0
"""Inference runtimes behind one interface, `Engine`. A runtime is imported when it is asked for."""

from __future__ import annotations

import importlib
import logging
import os
from typing import Any

from hcat_ros.engines.base import Engine, EngineCard, EngineError, Features, Prediction
from hcat_ros.engines.self_test import self_test
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

LOG = logging.getLogger(__name__)

# Name to module and class, in the order in which 'auto' tries them: the fastest first. OpenVINO is
# faster than ONNX Runtime, but in one process with PyTorch it has ended with SIGSEGV (2026.4 on
# Linux 6.18, cause unknown), so it is for whoever names it.
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

    engine: a key of `ENGINES`, or 'auto' for the first of them that loads and passes the
    self-test. precision: 'auto' or one that the runtime has. threads: CPU threads, 0 for one a
    physical core. build_if_missing: whether TensorRT may build what its cache lacks, which takes
    minutes. workspace: MiB that a kernel of TensorRT's may take, None for all there is. dla: core
    of the deep learning accelerator, on which only TensorRT runs; None for the GPU.

    The logger `hcat_ros` is told, with 'auto', of each runtime that was passed over and why, and
    of the progress of a build. Raises EngineError, saying why each runtime that was tried did not
    load; ModelError.
    """
    if engine not in ('auto', *ENGINES):
        raise EngineError(f"no engine '{engine}'; there are auto, {', '.join(ENGINES)}")
    if not isinstance(model, Model):
        model = load_model(model)
    names = tuple(ENGINES) if engine == 'auto' else (engine,)
    if dla is not None:
        if 'tensorrt' not in names:
            raise EngineError(f'{engine}: has no DLA core {dla}; leave it out, or take tensorrt')
        names = ('tensorrt',)
    reasons = []
    for name in names:
        module, class_name = ENGINES[name]
        try:
            options: dict[str, Any] = {'precision': precision, 'threads': threads}
            if name == 'tensorrt':
                options.update(build_if_missing=build_if_missing, workspace=workspace, dla=dla)
            loaded: Engine = getattr(importlib.import_module(module), class_name)(model, **options)
            if engine == 'auto':
                self_test(loaded, model)
        except EngineError as error:
            reasons.append(f'{name}: {error}')
            continue
        for reason in reasons:
            LOG.info('passed over %s', reason)
        return loaded
    raise EngineError('; '.join(reasons))
