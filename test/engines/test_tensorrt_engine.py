# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine with doubles of TensorRT and CUDA, and the real Polygraphy if installed."""

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
def test_predictions_are_identical_to_onnx_runtime(
    make: Make, model: Model, crops: Crops, expected: Prediction, version: str
) -> None:
    """Covers buffers, copies and the CUDA graph; the double's kernels are ONNX Runtime's."""
    make(version=version)
    engine = TensorRtEngine(model)
    for _ in range(2):
        found = engine.search(crops[1], engine.template(crops[0]))
        assert_array_equal(found.scores, expected.scores)
        assert_array_equal(found.boxes, expected.boxes)
    assert engine.card.runtime_version == version
    assert engine.card.precision == ('fp32' if version == '11.1.0' else 'fp16')


def test_buffers_are_allocated_once_and_features_stay_on_the_device(
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
def test_deleted_features_and_engines_free_their_device_memory(
    machine: Machine, model: Model, crops: Crops
) -> None:
    engine = TensorRtEngine(model)
    before = len(machine.cudart.memory)
    features = engine.template(crops[0])
    assert len(machine.cudart.memory) == before + 6
    engine.search(crops[1], features)
    del features
    engine.search(crops[1], engine.template(crops[0]))
    gc.collect()
    assert len(machine.cudart.memory) == before + 6  # the features that are bound
    del engine
    gc.collect()
    assert not machine.cudart.memory
    assert not machine.cudart.graphs
    assert not machine.cudart.streams


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
@pytest.mark.parametrize('failure', ['capture_fails', 'noise', 'no function'])
def test_without_a_cuda_graph_the_prediction_is_the_same(
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


def test_alternating_templates_do_not_overwrite_earlier_predictions(
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


def test_column_major_read_only_crops_are_accepted(
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
def test_a_crop_of_the_wrong_shape_or_type_is_refused(
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
def test_auto_precision_is_fp16_if_the_gpu_supports_it(
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
def test_unsupported_settings_are_refused_with_a_remedy(
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
def test_the_error_for_a_missing_package_says_how_to_install_it(
    make: Make, model: Model, module: str, reasons: list[str]
) -> None:
    make()
    with pytest.MonkeyPatch.context() as patch:  # undone before the doubles are removed
        for name in [name for name in sys.modules if name.split('.')[0] == module]:
            patch.setitem(sys.modules, name, None)
        with pytest.raises(EngineError) as error:
            TensorRtEngine(model)
    assert all(reason in str(error.value) for reason in reasons)


def test_a_polygraphy_that_is_too_old_is_refused(
    make: Make, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    monkeypatch.setattr(sys.modules['polygraphy'], '__version__', '0.47.1')
    with pytest.raises(EngineError, match=r'Polygraphy 0\.47\.1 is too old: pip install --upgrade'):
        TensorRtEngine(model)


def test_a_missing_nvidia_driver_is_reported() -> None:
    try:
        gpu = find_gpu()
    except EngineError as error:
        assert 'NVIDIA' in str(error) or 'CUDA finds no GPU' in str(error)  # noqa: PT017
    else:
        pytest.skip(f'there is a GPU here: {gpu}')


def test_a_driver_without_a_gpu_is_reported_with_its_error_code(make: Make, model: Model) -> None:
    make().driver.error = 100
    with pytest.raises(EngineError, match=r'CUDA finds no GPU here \(error 100'):
        TensorRtEngine(model)


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_running_out_of_device_memory_raises_an_engine_error(
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
def test_a_card_that_does_not_match_the_network_is_refused(
    machine: Machine, copy: Path, sizes: dict[str, int]
) -> None:
    model = load_model(copy)
    with pytest.raises(EngineError) as error:
        TensorRtEngine(Model(copy, dataclasses.replace(model.card, **sizes)))
    assert str(copy) in str(error.value)
    assert 'hcat export' in str(error.value)


def test_graphs_that_do_not_belong_together_are_refused(make: Make, copy: Path) -> None:
    import onnx

    make()
    graph = onnx.load(copy / TEMPLATE_FILE)
    del graph.graph.output[1]
    onnx.save(graph, copy / TEMPLATE_FILE)
    with pytest.raises(EngineError, match=r'does not take what template\.onnx gives'):
        TensorRtEngine(rehashed(copy))


def test_a_successful_load_logs_a_single_line(
    machine: Machine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    TensorRtEngine(model)
    ours = [r for r in caplog.records if r.name.startswith('hcat_ros')]
    assert [r.getMessage() for r in ours] == ['TensorRT 10.3.0 in fp16, with a CUDA graph']
