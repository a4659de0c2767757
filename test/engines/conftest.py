# SPDX-License-Identifier: Apache-2.0
"""A machine with TensorRT, Polygraphy and a GPU, all of them doubles."""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtimes import Timed, change_card
from tensorrt_double import Machine, Make, installed

from hcat_ros.engines import ENGINES, Engine, Prediction, engine_choice
from hcat_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from hcat_ros.engines.tensorrt_engine import TensorRtEngine
from hcat_ros.models import INT8_SEARCH_FILE, Model, load_model


@pytest.fixture(scope='module')
def model() -> Model:
    return load_model('hcat_base')


@pytest.fixture(scope='module')
def built(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the fp16 plans of `Machine()`."""
    pytest.importorskip('onnx', reason='the double of TensorRT reads graphs with it')
    folder = tmp_path_factory.mktemp('built')
    with pytest.MonkeyPatch.context() as patch, installed(Machine(), real_polygraphy=False):
        patch.setenv('XDG_CACHE_HOME', str(folder))
        TensorRtEngine(model)
    return folder


@pytest.fixture
def make(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Make]:
    """Make this machine look as if it had TensorRT and a GPU, with an empty cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    with ExitStack() as stack:

        def change(**settings: Any) -> Machine:
            real = getattr(request, 'param', 'double') == 'real'
            return stack.enter_context(installed(Machine(**settings), real))

        yield change
        gc.collect()


@pytest.fixture
def machine(make: Make, built: Path, tmp_path: Path) -> Machine:
    """A Jetson Orin whose cache already holds the built plans."""
    shutil.copytree(built, tmp_path / 'cache')
    return make()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped model to change."""
    return Path(shutil.copytree(load_model('hcat_base').folder, tmp_path / 'copy'))


@pytest.fixture(scope='module')
def crops() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (128, 128, 3), np.uint8), rng.integers(
        0, 256, (256, 256, 3), np.uint8
    )


@pytest.fixture(scope='module')
def expected(model: Model, crops: tuple[np.ndarray, np.ndarray]) -> Prediction:
    """The prediction of ONNX Runtime for `crops`."""
    engine = OnnxRuntimeEngine(model, threads=1)
    return engine.search(crops[1], engine.template(crops[0]))


@pytest.fixture
def int8_copy(copy: Path) -> Path:
    """A copy of the shipped model to change, whose card accepts int8."""
    if INT8_SEARCH_FILE not in load_model(copy).card.sha256:
        pytest.skip('the shipped model has no INT8 graph')

    def accept(card: dict[str, Any]) -> None:
        card['scores']['INT8'] = {'fp32': 0.64, INT8_SEARCH_FILE: {'AO': 0.631}}

    change_card(copy, accept)
    return copy


@pytest.fixture
def own_timings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty timing cache; PyTorch, the engine of last resort, is removed."""
    monkeypatch.delitem(ENGINES, 'torch')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'own_cache'))
    return tmp_path / 'own_cache' / 'hcat_ros' / 'timings'


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Timed:
    """Replace the timing with given speeds; return a list that records the engines timed."""

    def replace(speeds: dict[str, float]) -> list[list[str]]:
        calls: list[list[str]] = []

        def times(found: Sequence[Engine], seconds: float) -> list[np.ndarray]:
            names = [f'{engine.card.runtime} {engine.card.precision}' for engine in found]
            calls.append(names)
            return [np.array([speeds[name]]) for name in names]

        monkeypatch.setattr(engine_choice, 'time_searches', times)
        return calls

    return replace


@pytest.fixture
def wrong_int8(int8_copy: Path) -> Path:
    """A model whose INT8 graph loads but computes wrong scores."""
    onnx = pytest.importorskip('onnx', reason='needs onnx to change a graph')
    path = int8_copy / INT8_SEARCH_FILE
    graph = onnx.load(str(path))
    for node in graph.graph.node:
        node.output[:] = ['right' if name == 'scores' else name for name in node.output]
        node.input[:] = ['right' if name == 'scores' else name for name in node.input]
    one = onnx.numpy_helper.from_array(np.float32(1), 'one')
    graph.graph.initializer.append(one)
    graph.graph.node.append(onnx.helper.make_node('Sub', ['one', 'right'], ['scores']))
    onnx.save(graph, str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    change_card(int8_copy, lambda card: card['sha256'].update({INT8_SEARCH_FILE: digest}))
    return int8_copy
