# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine on a real GPU: outputs, cache, a killed build, speed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='needs ONNX Runtime to compare with')

from hcat_ros.engines import EngineError, Prediction
from hcat_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from hcat_ros.engines.self_test import TOLERANCES, self_test
from hcat_ros.engines.tensorrt_device import Program
from hcat_ros.engines.tensorrt_engine import TensorRtEngine
from hcat_ros.engines.tensorrt_plans import GRAPHS, TensorRtPlans
from hcat_ros.models import Model

PRECISIONS = ('fp32', 'fp16', 'int8')


def crops(model: Model, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Coarse noise, which excites the network as images do."""
    rng = np.random.default_rng(seed)

    def crop(size: int) -> np.ndarray:
        image = rng.uniform(0, 255, (size // 16, size // 16, 3)).repeat(16, 0).repeat(16, 1)
        return (image + rng.normal(0, 20, image.shape)).clip(0, 255).astype(np.uint8)

    return crop(model.card.template_size), crop(model.card.search_size)


def load_or_skip(model: Model, precision: str, **settings: bool) -> TensorRtEngine:
    """The engine; skips a precision that the GPU, this TensorRT or the model does not have."""
    try:
        return TensorRtEngine(model, precision, **settings)
    except EngineError as error:
        if 'has no precision' in str(error) or 'hcat quantize' in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize('precision', PRECISIONS)
def test_outputs_match_onnx_runtime(model: Model, precision: str) -> None:
    """Tolerance of fp32: 1e-3 in all scores and boxes. Lower precisions as in the self-test: 0.03
    (fp16) or 0.2 (int8) in all scores and in the box of the best cell."""
    reference, engine = OnnxRuntimeEngine(model), load_or_skip(model, precision)
    for seed in range(5):
        template, search = crops(model, seed)
        expected = reference.search(search, reference.template(template))
        found = engine.search(search, engine.template(template))
        cells = slice(None) if precision == 'fp32' else int(np.argmax(expected.scores))
        differences = Prediction(
            np.abs(found.scores - expected.scores),
            np.abs(found.boxes[cells] - expected.boxes[cells]),
        )
        print(precision, *(f'{difference.max():.2g}' for difference in differences))
        assert all(difference.max() <= TOLERANCES[precision] for difference in differences)
    self_test(engine, model)


def test_templates_can_alternate_with_and_without_a_cuda_graph(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load_or_skip(model, 'fp32')
    template, search = crops(model, 0)
    one, other = engine.template(template), engine.template(255 - template)
    with_graph = [engine.search(search, features).scores for features in (one, other, one)]
    assert (with_graph[0] == with_graph[2]).all()
    assert (with_graph[0] != with_graph[1]).any()
    monkeypatch.setattr(Program, 'use_cuda_graph', lambda self: False)
    plain = load_or_skip(model, 'fp32', build_if_missing=False)
    without = plain.search(search, plain.template(template)).scores
    assert np.abs(without - with_graph[0]).max() < 1e-6


def test_the_second_start_loads_from_the_cache(model: Model) -> None:
    load_or_skip(model, 'fp32')
    started = time.perf_counter()
    engine = load_or_skip(model, 'fp32', build_if_missing=False)
    template, search = crops(model, 0)
    engine.search(search, engine.template(template))
    seconds = time.perf_counter() - started
    print(f'{model.card.name}: from the cache to the first answer {seconds:.2f} s')


def test_repeated_engine_creation_leaks_no_gpu_memory(model: Model) -> None:
    """A node is configured and cleaned up again and again."""
    from polygraphy import cuda

    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    left = []
    for _ in range(6):
        engine = load_or_skip(model, 'fp32')
        engine.template(crops(model, 0)[0])
        del engine
        cuda.wrapper().handle.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        left.append(free.value)
    assert left[1] - left[-1] < 16 << 20


def test_killed_build_is_started_again(plans: TensorRtPlans, tmp_path: Path) -> None:
    """SIGKILL one second into the build; the next start builds, and the one after it loads."""
    folder = str(plans.model.folder)
    environment = {**os.environ, 'XDG_CACHE_HOME': str(tmp_path)}
    code = (
        'import sys; from hcat_ros.commands.main import main; '
        "raise SystemExit(main(['build-engine', sys.argv[1]]))"
    )
    command = [sys.executable, '-u', '-c', code, folder]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert 'building' in process.stdout.readline()
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
    assert not list(tmp_path.rglob('plan-*.json'))
    for expected in ('stored', 'already exists'):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.count(expected) == len(GRAPHS)
        assert 'is ready' in done.stdout


def test_the_plan_of_another_gpu_is_not_loaded(plans: TensorRtPlans, model: Model) -> None:
    load_or_skip(model, 'fp32')
    here = TensorRtPlans(model, 'fp32')
    assert here.cached(GRAPHS[0]) is not None
    here.gpu = here.gpu._replace(name='another')
    assert here.cached(GRAPHS[0]) is None


@pytest.mark.parametrize('precision', PRECISIONS)
def test_the_speed_is_printed(model: Model, precision: str) -> None:
    """Prints the speed without a limit: run with -s and with fixed clocks (jetson_clocks)."""
    engine = load_or_skip(model, precision)
    template, search = crops(model, 0)
    features = engine.template(template)
    times = []
    for number in range(550):
        started = time.perf_counter()
        engine.search(search, features)
        if number >= 50:
            times.append(1e3 * (time.perf_counter() - started))
    p50, p95, p99 = np.percentile(times, (50, 95, 99))
    card = engine.card
    print(
        f'\n{card.model}, TensorRT {card.runtime_version} {precision}: search {p50:.2f} ms median, '
        f'{p95:.2f} p95, {p99:.2f} p99'
    )
