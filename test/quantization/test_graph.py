# SPDX-License-Identifier: Apache-2.0
"""Graphs written by the real onnxruntime.quantization and run in ONNX Runtime."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from hcat_ros.evaluation.clips import Clip
from hcat_ros.models import load_model
from hcat_ros.quantization.examples import crops_along_tracks
from hcat_ros.quantization.graph import SearchQuantizer

DEPTHWISE = '/backbone/blocks/blocks.0/depthwise/Conv'


def by_name(path: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, np.ndarray]]:
    """Nodes by name, nodes by output, constants by name."""
    graph = onnx.load(str(path)).graph
    values = {value.name: onnx.numpy_helper.to_array(value) for value in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    return {node.name: node for node in graph.node}, makers, values


@pytest.fixture(scope='module')
def whole(quantizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('whole') / 'int8.onnx'
    quantizer.write(path, ())
    return path


@pytest.fixture(scope='module')
def for_tensorrt(quantizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('tensorrt') / 'int8.onnx'
    quantizer.write(path, [DEPTHWISE], tensorrt=True)
    return path


def test_every_layer_has_int8_weights_with_one_scale_per_channel(
    quantizer: Any, whole: Path
) -> None:
    nodes, makers, values = by_name(whole)
    assert len(quantizer.layers) == 61
    for layer in quantizer.layers:
        weights = makers[nodes[layer].input[1]]
        assert weights.op_type == 'DequantizeLinear', layer
        quantised, scale, zero = (values[name] for name in weights.input)
        assert quantised.dtype == np.int8, layer
        axis = next(a.i for a in weights.attribute if a.name == 'axis')
        assert scale.shape == (quantised.shape[axis],) == zero.shape
        assert not zero.any()
        assert makers[nodes[layer].input[0]].op_type == 'DequantizeLinear', layer


def test_values_are_quantised_after_their_activation_function(whole: Path) -> None:
    """A ReLU6 is replaced by the range of the quantisation: a scale of at most 6 / 255."""
    _, makers, values = by_name(whole)
    graph = onnx.load(str(whole)).graph
    assert not [n.name for n in graph.node if n.op_type == 'Clip' and 'backbone' in n.name]
    depthwise = next(n for n in graph.node if n.name == DEPTHWISE.replace('0', '4'))
    data = makers[depthwise.input[0]]
    scale, zero = values[data.input[1]], values[data.input[2]]
    assert zero.dtype == np.uint8
    assert zero == 0
    assert scale <= 6 / 255 * 1.01


def test_a_layer_in_float_keeps_its_weights(quantizer: Any, tmp_path: Path) -> None:
    path = tmp_path / 'one.onnx'
    quantizer.write(path, [DEPTHWISE])
    nodes, makers, values = by_name(path)
    before, _, originals = by_name(quantizer.source)
    weights = nodes[DEPTHWISE].input[1]
    assert weights not in makers
    assert (values[weights] == originals[before[DEPTHWISE].input[1]]).all()


def test_tensorrt_graphs_have_symmetric_int8_at_the_layer_inputs(for_tensorrt: Path) -> None:
    nodes, _, values = by_name(for_tensorrt)
    kinds = [n for n in nodes.values() if n.op_type in ('QuantizeLinear', 'DequantizeLinear')]
    assert len(kinds) > 100
    for node in kinds:
        zero = values[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any(), 'TensorRT knows no zero point'
    users: dict[str, list[str]] = {}
    for node in nodes.values():
        for name in node.input:
            users.setdefault(name, []).append(node.op_type)
    for node in kinds:
        if node.op_type == 'DequantizeLinear':
            assert set(users[node.output[0]]) <= {'Conv', 'Gemm', 'Add'}, node.name
    for node in nodes.values():
        if node.op_type in ('Conv', 'Gemm'):
            assert node.input[2] in values, 'biases stay float'
            assert values[node.input[2]].dtype == np.float32
    assert nodes[DEPTHWISE].input[1] in values


def test_nothing_is_written_into_the_models_folder(clips: list[Clip], tmp_path: Path) -> None:
    """The folder may be read-only, and other processes may be reading it."""
    folder = Path(shutil.copytree(load_model('hcat_base').folder, tmp_path / 'model'))
    model, work = load_model(folder), tmp_path / 'work'
    work.mkdir()
    crops = crops_along_tracks(clips, model.card, 2)
    quantizer = SearchQuantizer(model, crops[:1], crops[1:], work)
    before = folder.stat().st_mtime_ns  # adding or deleting a file changes it
    quantizer.write(tmp_path / 'int8.onnx', ())
    assert folder.stat().st_mtime_ns == before


def test_error_measures_the_deviation_of_scores_and_boxes(quantizer: Any, whole: Path) -> None:
    assert quantizer.error(quantizer.source) == (0, 0)
    off = quantizer.error(whole)
    assert 1e-5 < off.scores < 0.05
    assert 1e-5 < off.box < 0.2
    alone = quantizer.alone(quantizer.layers[5])
    assert alone.scores < off.scores
    assert alone.box < off.box


def test_layers_in_float_are_not_quantised_by_the_runtime(
    quantizer: Any, whole: Path, tmp_path: Path
) -> None:
    """ONNX Runtime's optimiser would quantise them again, with worse results."""
    path = tmp_path / 'some.onnx'
    quantizer.write(path, [layer for layer in quantizer.layers if 'backbone' in layer])
    assert quantizer.error(path).scores < 0.7 * quantizer.error(whole).scores


def test_an_unknown_layer_is_refused(quantizer: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='has no layers /nope'):
        quantizer.write(tmp_path / 'x.onnx', ['/nope'])


def test_quantising_does_not_change_the_logging_setup(quantizer: Any, tmp_path: Path) -> None:
    before = list(logging.root.handlers), logging.root.manager.disable
    quantizer.write(tmp_path / 'x.onnx', ())
    assert (list(logging.root.handlers), logging.root.manager.disable) == before
