# SPDX-License-Identifier: Apache-2.0
"""A machine with TensorRT, Polygraphy and a GPU, all of them doubles."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorrt_double import Machine, Make, installed

from hcat_ros.engines import Prediction
from hcat_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from hcat_ros.engines.tensorrt_engine import TensorRtEngine
from hcat_ros.models import Model, load_model


@pytest.fixture(scope='module')
def model() -> Model:
    return load_model('hcat_lite0')


@pytest.fixture(scope='module')
def built(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the fp16 plans of `Machine()`."""
    folder = tmp_path_factory.mktemp('built')
    with pytest.MonkeyPatch.context() as patch, installed(Machine(), real_polygraphy=False):
        patch.setenv('XDG_CACHE_HOME', str(folder))
        TensorRtEngine(model)
    return folder


@pytest.fixture
def make(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Make]:
    """Turns this machine into one with TensorRT and a GPU, its cache empty."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    with ExitStack() as stack:

        def change(**settings: Any) -> Machine:
            real = getattr(request, 'param', 'double') == 'real'
            return stack.enter_context(installed(Machine(**settings), real))

        yield change
        gc.collect()


@pytest.fixture
def machine(make: Make, built: Path, tmp_path: Path) -> Machine:
    """A Jetson Orin whose cache has the plans."""
    shutil.copytree(built, tmp_path / 'cache')
    return make()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped model to change."""
    return Path(shutil.copytree(load_model('hcat_lite0').folder, tmp_path / 'copy'))


@pytest.fixture(scope='module')
def crops() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (128, 128, 3), np.uint8), rng.integers(
        0, 256, (256, 256, 3), np.uint8
    )


@pytest.fixture(scope='module')
def expected(model: Model, crops: tuple[np.ndarray, np.ndarray]) -> Prediction:
    """What ONNX Runtime answers."""
    engine = OnnxRuntimeEngine(model, threads=1)
    return engine.search(crops[1], engine.template(crops[0]))
