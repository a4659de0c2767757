# SPDX-License-Identifier: Apache-2.0
"""Load any runtime with any model, or skip the test if that is not possible."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hcat_ros.commands import add_ncnn
from hcat_ros.engines import Engine, EngineError, load_engine
from hcat_ros.models import CARD_FILE, Model, load_model

Timed = Callable[[dict[str, float]], list[list[str]]]
"""Type of the fixture `timed`: takes seconds per search, returns the list of engines timed."""
INT8_FASTER = {'onnxruntime fp32': 0.004, 'onnxruntime int8': 0.002}
FLOAT_FASTER = {'onnxruntime fp32': 0.002, 'onnxruntime int8': 0.004}

ABSENT = ('cannot be imported', 'has no CUDAExecutionProvider', 'has no TensorrtExecutionProvider')


def loaded(model: Model, name: str, **settings: Any) -> Engine:
    """Load the engine; skip the test if its runtime is not installed."""
    try:
        return load_engine(model, name, **settings)
    except EngineError as error:
        if any(reason in str(error) for reason in ABSENT):
            pytest.skip(str(error))
        raise


def with_graphs(model: Model, name: str, folder: Path) -> Model:
    """The model; for ncnn, a copy of it in `folder` to which ncnn's graphs are added."""
    if name != 'ncnn':
        return model
    for module in ('ncnn', 'pnnx', 'torch', 'onnxslim'):
        pytest.importorskip(module, reason=f'needs {module} for the graphs of ncnn')
    copied = shutil.copytree(model.folder, folder / 'with_graphs')
    add_ncnn.run(argparse.Namespace(model=str(copied)))
    return load_model(copied)


def change_card(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit a model's card in place."""
    path = folder / CARD_FILE
    card = yaml.safe_load(path.read_text())
    change(card)
    path.write_text(yaml.safe_dump(card))
