# SPDX-License-Identifier: Apache-2.0
"""Loads any runtime with any model, or skips where that is not possible."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import pytest

from hcat_ros.commands import add_ncnn
from hcat_ros.engines import Engine, EngineError, load_engine
from hcat_ros.models import Model, load_model

ABSENT = ('cannot be imported', 'has no CUDAExecutionProvider', 'has no TensorrtExecutionProvider')


def loaded(model: Model, name: str, **settings: Any) -> Engine:
    """The engine; skips where its runtime is not installed."""
    try:
        return load_engine(model, name, **settings)
    except EngineError as error:
        if any(reason in str(error) for reason in ABSENT):
            pytest.skip(str(error))
        raise


def with_graphs(model: Model, name: str, folder: Path) -> Model:
    """The model, copied to the folder where the runtime needs graphs that are not in it."""
    if name != 'ncnn':
        return model
    for module in ('ncnn', 'pnnx', 'torch', 'onnxslim'):
        pytest.importorskip(module, reason=f'needs {module} for the graphs of ncnn')
    copied = shutil.copytree(model.folder, folder / 'with_graphs')
    add_ncnn.run(argparse.Namespace(model=str(copied)))
    return load_model(copied)
