# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine over doubles of TensorRT and CUDA, with the real Polygraphy if installed."""

from __future__ import annotations

import dataclasses
import gc
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from tensorrt_double import POLYGRAPHY, Machine, Make, rehashed

from hcat_ros.engines import EngineError, Prediction
from hcat_ros.engines.tensorrt_device import find_gpu
from hcat_ros.engines.tensorrt_engine import TensorRtEngine
from hcat_ros.models import INT8_TENSORRT_FILE, TEMPLATE_FILE, Model, load_model

Crops = tuple[np.ndarray, np.ndarray]


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
@pytest.mark.parametrize('version', ['8.5.3.1', '8.6.2', '10.3.0', '11.1.0'])
def test_the_answer_is_onnx_runtimes(
    make: Make, model: Model, crops: Crops, expected: Prediction, version: str
) -> None:
    """Through buffers, copies and graph; kernels of the double are ONNX Runtime's."""
    make(version=version)
    engine = TensorRtEngine(model)
    for _ in range(2):
        found = engine.search(crops[1], engine.template(crops[0]))
        assert_array_equal(found.scores, expected.scores)
        assert_array_equal(found.boxes, expected.boxes)
    assert engine.card.runtime_version == version
    assert engine.card.precision == ('fp32' if version == '11.1.0' else 'fp16')


def test_buffers_are_made_once_and_features_stay_on_the_device(
    machine: Machine, model: Model, crops: Crops
) -> None:
    engine = TensorRtEngine(model)
    features = engine.template(crops[0])
    memory, calls = set(machine.cudart.memory), machine.cudart.calls
    calls.clear()
    engine.search(crops[1], features)
    assert calls == ['D2D'] * 6 + ['H2D', 'launch', 'D2H', 'D2H']
    calls.clear()
    for _ in range(3):
        engine.search(crops[1], features)
    assert calls == ['H2D', 'launch', 'D2H', 'D2H'] * 3
    assert set(machine.cudart.memory) == memory
    assert len(machine.cudart.streams) == 1


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_what_is_dropped_is_freed(machine: Machine, model: Model, crops: Crops) -> None:
    engine = TensorRtEngine(model)
    before = len(machine.cudart.memory)
    features = engine.template(crops[0])
    assert len(machine.cudart.memory) == before + 6
    engine.search(crops[1], features)
    del features
    engine.search(crops[1], engine.template(crops[0]))
    gc.collect()
    assert len(machine.cudart.memory) == before + 6  # those that are bound
    del engine
    gc.collect()
    assert not machine.cudart.memory
    assert not machine.cudart.graphs
    assert not machine.cudart.streams


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
@pytest.mark.parametrize('failure', ['capture_fails', 'noise', 'no function'])
def test_without_a_cuda_graph_the_answer_is_the_same(
    machine: Machine,
    model: Model,
    crops: Crops,
    expected: Prediction,
    failure: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A capture that fails, a graph that computes something else, a CUDA before 11.4."""
    if failure == 'no function':
        monkeypatch.delattr(type(machine.cudart), 'cudaGraphInstantiateWithFlags')
    elif failure == 'noise':
        machine.noise = 0.1
    else:
        machine.cudart.capture_fails = True
    engine = TensorRtEngine(model)
    machine.cudart.calls.clear()
    found = engine.search(crops[1], engine.template(crops[0]))
    assert 'launch' not in machine.cudart.calls
    assert_array_equal(found.scores, expected.scores)
    del engine
    gc.collect()
    assert not machine.cudart.graphs


def test_templates_take_turns_and_answers_belong_to_the_caller(
    machine: Machine, model: Model, crops: Crops
) -> None:
    engine = TensorRtEngine(model)
    one, other = engine.template(crops[0]), engine.template(255 - crops[0])
    of_one, of_other = engine.search(crops[1], one), engine.search(crops[1], other)
    kept = of_one.scores.copy(), of_one.boxes.copy()
    assert (of_one.scores != of_other.scores).any()
    for _ in range(2):
        assert_array_equal(engine.search(crops[1], one).scores, kept[0])
        assert_array_equal(engine.search(crops[1], other).boxes, of_other.boxes)
    assert_array_equal(of_one.boxes, kept[1])


def test_any_view_of_a_crop_is_taken_and_left_as_it_is(
    machine: Machine, model: Model, crops: Crops, expected: Prediction
) -> None:
    engine = TensorRtEngine(model)
    views = [np.asfortranarray(crop) for crop in crops]
    for view in views:
        view.flags.writeable = False
    assert_array_equal(engine.search(views[1], engine.template(views[0])).scores, expected.scores)


@pytest.mark.parametrize(
    'crop', [np.zeros((256, 256), np.uint8), np.zeros((256, 256, 3), np.float32)], ids=str
)
def test_another_crop_is_refused_before_it_reaches_the_device(
    machine: Machine, model: Model, crops: Crops, expected: Prediction, crop: np.ndarray
) -> None:
    engine = TensorRtEngine(model)
    features = engine.template(crops[0])
    with pytest.raises(EngineError, match='search crop: expected'):
        engine.search(crop, features)
    with pytest.raises(EngineError, match='template crop: expected'):
        engine.template(crop)
    assert_array_equal(engine.search(crops[1], features).scores, expected.scores)


def test_features_of_another_model_are_refused(
    machine: Machine, model: Model, crops: Crops, expected: Prediction
) -> None:
    engine = TensorRtEngine(model)
    features, other = engine.template(crops[0]), engine.template(crops[0])
    other.buffers['key'] = other.buffers['correlation']
    with pytest.raises(EngineError, match='key has another size'):
        engine.search(crops[1], other)
    assert_array_equal(engine.search(crops[1], features).scores, expected.scores)


@pytest.mark.parametrize(
    ('capability', 'precision'),
    [((6, 1), 'fp32'), ((6, 2), 'fp16'), ((7, 2), 'fp16'), ((8, 7), 'fp16'), ((10, 0), 'fp16')],
)
def test_auto_is_fp16_where_the_chip_has_it(
    make: Make, model: Model, capability: tuple[int, int], precision: str
) -> None:
    make(capability=capability)
    assert TensorRtEngine(model).card.precision == precision


def test_int8_needs_a_quantised_graph(make: Make, model: Model) -> None:
    make()
    hashes = {k: v for k, v in model.card.sha256.items() if k != INT8_TENSORRT_FILE}
    float_only = Model(model.folder, dataclasses.replace(model.card, sha256=hashes))
    with pytest.raises(EngineError, match=f'lists no {INT8_TENSORRT_FILE}: .* hcat quantize'):
        TensorRtEngine(float_only, 'int8')


@pytest.mark.parametrize(
    ('machine_settings', 'settings', 'reasons'),
    [
        ({}, {'precision': 'bf16'}, ["no precision 'bf16'", 'fp16, fp32, int8']),
        ({'capability': (6, 1)}, {'precision': 'fp16'}, ["no precision 'fp16'", 'fp32, int8']),
        ({'version': '11.1.0'}, {'precision': 'fp16'}, ['TensorRT 11.1.0', 'take fp32']),
        ({'version': '8.4.1'}, {}, ['TensorRT 8.4.1 is too old', 'JetPack 6']),
        ({}, {'threads': -1}, ['threads -1: expected 0']),
        ({}, {'workspace': 0}, ['workspace 0 MiB: expected 1']),
        ({}, {'dla': -1}, ['DLA core -1: expected 0']),
        ({}, {'dla': 1}, ['DLA core 1: this machine has 0', 'leave it out to run on the GPU']),
        ({}, {'dla': 0, 'precision': 'fp32'}, ["no precision 'fp32'", 'it has fp16, int8']),
        ({'version': '11.1.0'}, {'dla': 0}, ['DLA core 0', 'leave it out']),
        ({}, {'build_if_missing': False}, ['has no plan of template.onnx', 'hcat build-engine']),
        (
            {},
            {'build_if_missing': False, 'workspace': 256, 'dla': 1},
            ['hcat_base --precision fp16 --workspace 256 --dla 1'],
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else '',
)
def test_settings_that_cannot_be_met_are_refused_with_the_remedy(
    make: Make, model: Model, machine_settings: Any, settings: Any, reasons: list[str]
) -> None:
    machine = make(**machine_settings)
    with pytest.raises(EngineError) as error:
        TensorRtEngine(model, **settings)
    assert all(reason in str(error.value) for reason in reasons), error.value
    assert not machine.builds


@pytest.mark.parametrize(
    ('module', 'reasons'),
    [
        ('tensorrt', ['TensorRT cannot be imported', 'python3-libnvinfer', 'pip install']),
        ('polygraphy', ['Polygraphy cannot be imported', 'pip install polygraphy']),
    ],
)
def test_what_is_not_installed_is_named(
    make: Make, model: Model, module: str, reasons: list[str]
) -> None:
    make()
    with pytest.MonkeyPatch.context() as patch:  # undone before the doubles are taken away
        for name in [name for name in sys.modules if name.split('.')[0] == module]:
            patch.setitem(sys.modules, name, None)
        with pytest.raises(EngineError) as error:
            TensorRtEngine(model)
    assert all(reason in str(error.value) for reason in reasons)


def test_a_polygraphy_that_is_too_old_is_named(
    make: Make, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    monkeypatch.setattr(sys.modules['polygraphy'], '__version__', '0.47.1')
    with pytest.raises(EngineError, match=r'Polygraphy 0\.47\.1 is too old: pip install --upgrade'):
        TensorRtEngine(model)


def test_a_machine_without_an_nvidia_driver_says_so() -> None:
    try:
        gpu = find_gpu()
    except EngineError as error:
        assert 'NVIDIA' in str(error) or 'CUDA finds no GPU' in str(error)  # noqa: PT017
    else:
        pytest.skip(f'there is a GPU here: {gpu}')


def test_a_driver_without_a_gpu_is_told_with_its_error(make: Make, model: Model) -> None:
    make().driver.error = 100
    with pytest.raises(EngineError, match=r'CUDA finds no GPU here \(error 100'):
        TensorRtEngine(model)


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_device_memory_that_runs_out_is_an_error(
    machine: Machine, model: Model, crops: Crops
) -> None:
    engine = TensorRtEngine(model)
    machine.cudart.out_of_memory = True
    with pytest.raises(EngineError, match='failed on the template: CUDA Error: 2'):
        engine.template(crops[0])
    with pytest.raises(EngineError, match=r'TensorRT cannot load .*hcat_base: CUDA Error: 2'):
        TensorRtEngine(model)


@pytest.mark.parametrize(
    'sizes', [{'grid': 8}, {'search_size': 128}, {'template_size': 256}], ids=str
)
def test_a_card_of_another_network_is_noticed(
    machine: Machine, copy: Path, sizes: dict[str, int]
) -> None:
    model = load_model(copy)
    with pytest.raises(EngineError) as error:
        TensorRtEngine(Model(copy, dataclasses.replace(model.card, **sizes)))
    assert str(copy) in str(error.value)
    assert 'hcat export' in str(error.value)


def test_graphs_that_do_not_belong_together_are_noticed(make: Make, copy: Path) -> None:
    import onnx

    make()
    graph = onnx.load(copy / TEMPLATE_FILE)
    del graph.graph.output[1]
    onnx.save(graph, copy / TEMPLATE_FILE)
    with pytest.raises(EngineError, match=r'does not take what template\.onnx gives'):
        TensorRtEngine(rehashed(copy))


def test_logging_stays_quiet_when_all_is_well(
    machine: Machine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    TensorRtEngine(model)
    ours = [r for r in caplog.records if r.name.startswith('hcat_ros')]
    assert [r.getMessage() for r in ours] == ['TensorRT 10.3.0 in fp16, with a CUDA graph']
