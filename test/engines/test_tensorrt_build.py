# SPDX-License-Identifier: Apache-2.0
"""What the TensorRT engine builds, and when it uses the cache instead."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from tensorrt_double import POLYGRAPHY, REAL, Machine, Make, installed, rehashed
from tensorrt_double.polygraphy import polygraphy_backend, polygraphy_cuda

from hcat_ros.engines import EngineError, Prediction
from hcat_ros.engines.tensorrt_engine import TensorRtEngine
from hcat_ros.models import (
    INT8_TENSORRT_FILE,
    SEARCH_FILE,
    TEMPLATE_FILE,
    Model,
    ModelError,
    load_model,
)

Crops = tuple[np.ndarray, np.ndarray]


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
@pytest.mark.parametrize(
    ('version', 'precision', 'flags'),
    [
        *(
            (version, *case)
            for version in ('8.5.3', '8.6.2', '10.3.0')
            for case in (('fp32', set()), ('fp16', {'FP16', 'OBEY_PRECISION_CONSTRAINTS'}))
        ),
        ('11.1.0', 'fp32', set()),
    ],
)
def test_the_builder_flags_match_the_precision(
    make: Make, model: Model, version: str, precision: str, flags: set[str]
) -> None:
    """TF32, which TensorRT enables by default, is off."""
    machine = make(version=version)
    TensorRtEngine(model, precision)
    assert [build['flags'] for build in machine.builds] == [flags, flags]
    kept = [[layer for layer in n.layers if layer.precision_is_set] for n in machine.networks]
    assert all(bool(layers) == (precision == 'fp16') for layers in kept)


def test_softmax_and_normalisations_are_kept_in_fp32(make: Make) -> None:
    machine = make()
    TensorRtEngine(load_model('hcat_base'))
    template, search = machine.networks
    fp32 = machine.tensorrt.DataType.FLOAT
    for network, norms, softmaxes in ((template, 1, 1), (search, 9, 4)):
        kept = [layer for layer in network.layers if layer.precision_is_set]
        assert all(layer.precision == fp32 for layer in kept)
        names = [layer.name for layer in kept]
        assert sum(name.endswith('Softmax') for name in names) == softmaxes
        # Each of the nine nodes of each LayerNorm; its nodes are named after it.
        of_norms = [name for name in names if 'norm' in name]
        assert len(of_norms) == len(set(of_norms)) == 9 * norms
        rest = [name for name in names if 'norm' not in name and not name.endswith('Softmax')]
        kinds = {name.strip('/').partition('_')[0] for name in rest}
        # The L2 norm of the correlation (in TensorRT three layers), and the pixels' mean and std.
        assert kinds == {'ReduceL2', 'Clip', 'Expand', 'Sub', 'Div'}
        assert len(rest) == len(set(rest)) + 2 == 9
        wide = {layer.name.rpartition('/')[2] for layer in kept if layer.output_types}
        wide = {'Expand' if name.startswith('Expand') else name for name in wide}
        inside = {'Sub', 'Pow', 'ReduceMean', 'ReduceMean_1', 'Add', 'Sqrt', 'Div', 'Mul'}
        # Add_1, the last node of a LayerNorm, is wide only if another LayerNorm follows it.
        assert wide - {'Add_1'} == {*inside, 'ReduceL2', 'Clip', 'Expand'}
        assert all(layer.output_types in ({}, {0: fp32}) for layer in kept)


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_a_failing_build_raises_an_engine_error(make: Make, model: Model, tmp_path: Path) -> None:
    make().fails_building = True
    with pytest.raises(EngineError, match=r'cannot build .*template\.onnx in fp16: Invalid Engine'):
        TensorRtEngine(model)
    assert not list((tmp_path / 'cache').rglob('*.bin'))


@pytest.mark.parametrize('file', [TEMPLATE_FILE, SEARCH_FILE])
def test_a_damaged_graph_is_refused_even_if_its_plan_is_cached(
    machine: Machine, copy: Path, file: str
) -> None:
    content = bytearray((copy / file).read_bytes())
    content[1000] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(ModelError, match=f'{file} is damaged'):
        TensorRtEngine(load_model(copy))


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_a_file_that_is_not_a_graph_is_named_in_the_error(make: Make, copy: Path) -> None:
    make()
    (copy / SEARCH_FILE).write_bytes(b'no graph')
    with pytest.raises(EngineError) as error:
        TensorRtEngine(rehashed(copy))
    assert f'cannot build {copy / SEARCH_FILE} in fp16' in str(error.value)


def test_int8_applies_to_the_search_graph_only(
    make: Make, copy: Path, crops: Crops, expected: Prediction
) -> None:
    machine = make()
    shutil.copy(copy / SEARCH_FILE, copy / INT8_TENSORRT_FILE)
    (copy / SEARCH_FILE).write_bytes(b'not looked at')
    engine = TensorRtEngine(rehashed(copy, INT8_TENSORRT_FILE), 'int8')
    fp16 = {'FP16', 'OBEY_PRECISION_CONSTRAINTS'}
    assert [build['flags'] for build in machine.builds] == [fp16, {*fp16, 'INT8'}]
    assert engine.card.precision == 'int8'
    found = engine.search(crops[1], engine.template(crops[0]))
    assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_workspace_and_dla_settings_reach_the_builder(
    make: Make, model: Model, crops: Crops
) -> None:
    machine = make(dla_cores=2)
    engine = TensorRtEngine(model, workspace=512, dla=1)
    for build in machine.builds:
        assert build['workspace'] == 512 << 20
        assert build['DLA_core'] == 1
        assert build['flags'] == {'FP16', 'GPU_FALLBACK', 'PREFER_PRECISION_CONSTRAINTS'}
    engine.search(crops[1], engine.template(crops[0]))
    assert 'begin capture' not in machine.cudart.calls


def test_the_second_start_builds_nothing(machine: Machine, model: Model) -> None:
    TensorRtEngine(model, build_if_missing=False)
    assert not machine.builds


@pytest.mark.parametrize(
    'settings', [{'version': '10.4.0'}, {'gpu': 'Xavier'}, {'capability': (8, 9)}], ids=str
)
def test_a_plan_built_on_another_machine_is_not_used(
    make: Make, built: Path, tmp_path: Path, model: Model, settings: dict[str, Any]
) -> None:
    shutil.copytree(built, tmp_path / 'cache')
    machine = make(**settings)
    TensorRtEngine(model)
    assert len(machine.builds) == 2
    assert all(build['timing'] == b'' for build in machine.builds[:1])


def test_a_plan_of_another_precision_is_not_used(machine: Machine, model: Model) -> None:
    TensorRtEngine(model, 'fp32')
    assert len(machine.builds) == 2


def test_a_plan_of_any_workspace_is_used_unless_one_is_requested(make: Make, model: Model) -> None:
    machine = make()
    TensorRtEngine(model, workspace=256)
    TensorRtEngine(model)
    assert len(machine.builds) == 2
    TensorRtEngine(model, workspace=512)
    assert len(machine.builds) == 4


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_the_timing_cache_makes_later_builds_faster(make: Make, model: Model) -> None:
    machine = make()
    TensorRtEngine(model)
    TensorRtEngine(model, 'fp32')
    assert [build['timing'] for build in machine.builds] == [b' measured' * n for n in range(4)]


def test_a_damaged_plan_is_built_again(
    machine: Machine, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (tmp_path / 'cache').rglob('plan-*.bin'):
        path.write_bytes(path.read_bytes()[:-1])
    TensorRtEngine(model)
    assert len(machine.builds) == 2
    assert sum('is not used: it has' in message for message in caplog.messages) == 2
    TensorRtEngine(model)
    assert len(machine.builds) == 2


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_a_plan_that_tensorrt_refuses_is_built_again(
    machine: Machine, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    """The plan is intact and its key matches, but TensorRT does not accept it on this machine."""
    machine.refuses_plans = True
    with pytest.raises(EngineError, match=r'does not load .* --precision fp16 --force'):
        TensorRtEngine(model, build_if_missing=False)
    with pytest.raises(EngineError, match='Could not deserialize'):
        TensorRtEngine(model)
    assert 'it is built again' in caplog.text
    assert len(machine.builds) == 1


def test_a_cache_that_cannot_be_written_causes_a_warning(
    make: Make,
    model: Model,
    crops: Crops,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = make()
    monkeypatch.setenv('XDG_CACHE_HOME', '/proc/self')
    engine = TensorRtEngine(model)
    engine.search(crops[1], engine.template(crops[0]))
    assert len(machine.builds) == 2
    assert caplog.text.count('the next start has to build again: cannot write /proc/self') == 2


def test_the_sidecar_describes_the_plan(machine: Machine, model: Model, tmp_path: Path) -> None:
    sidecars = [json.loads(p.read_text()) for p in (tmp_path / 'cache').rglob('plan-*.json')]
    assert {sidecar['what'] for sidecar in sidecars} == {
        f'TensorRT plan of {file}' for file in (TEMPLATE_FILE, SEARCH_FILE)
    }
    for sidecar in sidecars:
        assert sidecar['model'] == 'hcat_base'
        assert sidecar['key']['gpu'] == 'Orin'
        assert sidecar['key']['compute_capability'] == '8.7'
        assert sidecar['key']['tensorrt'] == '10.3.0'
        assert sidecar['key']['onnx_sha256'] in model.card.sha256.values()


@pytest.mark.skipif(not REAL, reason='needs Polygraphy')
def test_the_signatures_of_the_doubles_match_polygraphy(make: Make) -> None:
    """Each parameter of a double exists in Polygraphy, positional ones in the same order."""
    machine = Machine()
    doubles = {**polygraphy_backend(machine), **polygraphy_cuda(None)}
    with installed(machine, real_polygraphy=True):
        from polygraphy import cuda
        from polygraphy.backend import trt
        from polygraphy.logger import G_LOGGER

        assert set(doubles) - {'Stream', 'DeviceArray'} <= set(dir(trt))
        assert isinstance(G_LOGGER.WARNING, int)
        for name, double in doubles.items():
            real = getattr(trt, name, None) or getattr(cuda, name)
            assert_signature(name, double, real)
            if inspect.isclass(double):
                for method in vars(double):
                    if not method.startswith('_'):
                        assert_signature(f'{name}.{method}', getattr(double, method), real, method)


def assert_signature(name: str, double: Any, real: Any, method: str = '') -> None:
    target = getattr(real, method) if method else real
    found = inspect.signature(target).parameters
    if name == 'CreateConfig':  # passes further arguments on to its base class
        found = {**inspect.signature(real.__base__).parameters, **found}
        assert set(inspect.signature(double).parameters) <= set(found)
        return
    wanted = list(inspect.signature(double).parameters.values())
    theirs = list(found.values())[: len(wanted)]
    names = set(found)
    for mine in wanted:
        assert mine.name in names, f'{name} has no {mine.name}'
    required = [p.name for p in wanted if p.default is inspect.Parameter.empty]
    assert required == [p.name for p in theirs][: len(required)], name
