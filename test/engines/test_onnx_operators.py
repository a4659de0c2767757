# SPDX-License-Identifier: Apache-2.0
"""TensorRT's parser supports each operator, attribute and type in the models' graphs.

The table is of onnx-tensorrt's docs/operators.md at the branches 8.5-GA (fdeeaca), 8.6-GA (ee0b139)
and 10.1-GA (96e7811, whose text speaks of TensorRT 10.0). No later branch was available, so 10.1
stands for 10.3; NVIDIA/TensorRT's changelog lists no removals from the parser between the two.
Attributes are those that the importers of 8.5-GA (builtin_op_importers.cpp) read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='needs onnx')

from onnx import numpy_helper

from hcat_ros.models import INT8_SEARCH_FILE, Model, available_models

OPSETS = {'8.5': range(7, 18), '8.6': range(7, 18), '10.3': range(9, 21)}
FLOATS_8 = 'FP32 FP16'
FLOATS_10 = 'FP32 FP16 BF16'
# Operator: types in 8.5 and 8.6, types in 10.1, attributes, restriction.
TABLE = {
    'Add': (f'{FLOATS_8} INT32', f'{FLOATS_10} INT32 INT64', '', ''),
    # The table of 8.5 has no UINT8, but its importer takes it, to FP32 and FP16 (line 317).
    'Cast': (f'{FLOATS_8} INT32 INT8 UINT8 BOOL', f'{FLOATS_10} INT32 INT64 UINT8 BOOL', 'to', ''),
    'Clip': (f'{FLOATS_8} INT8', FLOATS_10, '', 'constant bounds'),
    'Conv': (
        f'{FLOATS_8} INT8',
        FLOATS_10,
        'auto_pad dilations group kernel_shape pads strides',
        'constant weights',
    ),
    'DequantizeLinear': ('INT8', 'INT8 FP8 INT4', 'axis', 'zero point 0'),
    'Div': (f'{FLOATS_8} INT32', f'{FLOATS_10} INT32 INT64', '', ''),
    'Expand': (f'{FLOATS_8} INT32 BOOL', f'{FLOATS_10} INT32 INT64 BOOL', '', 'constant shape'),
    'Gather': (
        f'{FLOATS_8} INT8 INT32 BOOL',
        f'{FLOATS_10} INT32 INT64 BOOL',
        'axis',
        'constant indices',
    ),
    'Gemm': (f'{FLOATS_8} INT8', FLOATS_10, 'alpha beta transA transB', ''),
    'GlobalAveragePool': (f'{FLOATS_8} INT8', FLOATS_10, '', ''),
    'HardSigmoid': (f'{FLOATS_8} INT8', FLOATS_10, 'alpha beta', ''),
    'MatMul': (FLOATS_8, FLOATS_10, '', ''),
    'MaxPool': (
        f'{FLOATS_8} INT8',
        FLOATS_10,
        'auto_pad ceil_mode dilations kernel_shape pads strides',
        'one output',
    ),
    'Mul': (f'{FLOATS_8} INT32', f'{FLOATS_10} INT32 INT64', '', ''),
    'Pow': (FLOATS_8, FLOATS_10, '', ''),
    'QuantizeLinear': (FLOATS_8, FLOATS_10, 'axis', 'zero point 0'),
    'ReduceL2': (FLOATS_8, f'{FLOATS_10} INT32 INT64', 'axes keepdims', ''),
    'ReduceMean': (FLOATS_8, f'{FLOATS_10} INT32 INT64', 'axes keepdims', ''),
    'Relu': (f'{FLOATS_8} INT8', f'{FLOATS_10} INT32 INT64', '', ''),
    'Reshape': (
        f'{FLOATS_8} INT32 INT8 BOOL',
        f'{FLOATS_10} INT32 INT64 BOOL',
        'allowzero',
        'constant shape',
    ),
    'Sigmoid': (f'{FLOATS_8} INT8', FLOATS_10, '', ''),
    'Softmax': (FLOATS_8, FLOATS_10, 'axis', ''),
    'Sqrt': (FLOATS_8, FLOATS_10, '', ''),
    'Sub': (f'{FLOATS_8} INT32', f'{FLOATS_10} INT32 INT64', '', ''),
    'Transpose': (f'{FLOATS_8} INT32 INT8 BOOL', f'{FLOATS_10} INT32 INT64 BOOL', 'perm', ''),
}
NAMES = {'FLOAT': 'FP32', 'FLOAT16': 'FP16', 'BFLOAT16': 'BF16'}
"""Type names of ONNX that differ from those of the table."""
# TensorRT does not use the INT8 graph for CPUs.
GRAPHS = [
    path
    for folder in available_models().values()
    for path in sorted(folder.glob('*.onnx'))
    if path.name != INT8_SEARCH_FILE
]


class Graph:
    """An ONNX graph with the types of its tensors."""

    def __init__(self, path: Path) -> None:
        model = onnx.shape_inference.infer_shapes(onnx.load(path))
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs = list(model.graph.input)
        self.weights = {
            node.output[0]: node.input[0]
            for node in self.nodes
            if node.op_type == 'DequantizeLinear' and set(node.input) <= set(self.constants)
        }
        graph = model.graph
        values = [*graph.input, *graph.output, *graph.value_info]
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._types.update({name: tensor.data_type for name, tensor in self.constants.items()})

    def kind(self, name: str) -> str:
        found = onnx.TensorProto.DataType.Name(self._types[name])
        return NAMES.get(found, found)


def faults(graph: Graph, release: str) -> list[str]:
    """Everything that this release of TensorRT does not support, one line each."""
    found = [
        f'opset {version} of {domain or "ONNX"}'
        for domain, version in graph.opsets.items()
        if domain or version not in OPSETS[release]
    ]
    for node in graph.nodes:
        if node.op_type not in TABLE:
            found.append(f'{node.name}: no operator {node.op_type}')
            continue
        old, new, attributes, restriction = TABLE[node.op_type]
        kinds = (new if release.startswith('10') else old).split()
        data = node.input[:1] if restriction or node.op_type == 'Softmax' else node.input
        found += [
            f'{node.name}: {node.op_type} of {graph.kind(name)}'
            for name in data
            if name and graph.kind(name) not in kinds
        ]
        found += [
            f'{node.name}: {node.op_type} with {attribute.name}'
            for attribute in node.attribute
            if attribute.name not in attributes.split()
        ]
        fault = restricted(graph, node, restriction)
        found += [f'{node.name}: {node.op_type}, {fault}'] if fault else []
    return found


def restricted(graph: Graph, node: Any, restriction: str) -> str:
    """Reason why a node violates its row's restriction, or ''."""
    rest = [name for name in node.input[1:] if name]
    if restriction.startswith('constant'):
        if restriction == 'constant weights':  # in INT8 they are dequantised constants
            rest = [graph.weights.get(name, name) for name in rest]
        if not all(name in graph.constants for name in rest):
            return f'without {restriction}'
        whole = [numpy_helper.to_array(graph.constants[name]) for name in rest]
        # 8.5 and 8.6 have no INT64; the parser converts constants to INT32.
        if any(value.dtype == np.int64 and abs(value).max(initial=0) >= 2**31 for value in whole):
            return 'a number beyond INT32'
    if restriction == 'zero point 0' and len(rest) > 1:
        zero = graph.constants.get(rest[1])
        if zero is None or zero.data_type != onnx.TensorProto.INT8:
            return 'zero point that is no constant INT8'
        if numpy_helper.to_array(zero).any():
            return 'zero point that is not 0'
    if restriction == 'one output' and len(node.output) != 1:
        return 'with two outputs'
    return ''


@pytest.mark.parametrize('release', OPSETS)
@pytest.mark.parametrize('path', GRAPHS, ids=lambda path: f'{path.parent.name}/{path.name}')
def test_tensorrt_supports_the_shipped_graphs(path: Path, release: str) -> None:
    assert faults(Graph(path), release) == []


@pytest.mark.parametrize('release', OPSETS)
@pytest.mark.parametrize('file', ['template.onnx', 'search.onnx'])
def test_tensorrt_supports_the_papers_network(golden_model: Model, file: str, release: str) -> None:
    """ResNet-18, N = 2, as hcat export writes it."""
    assert faults(Graph(golden_model.folder / file), release) == []


@pytest.mark.parametrize('path', GRAPHS, ids=lambda path: f'{path.parent.name}/{path.name}')
def test_uint8_appears_only_as_the_crop_input_that_is_cast_to_fp32(path: Path) -> None:
    """TensorRT supports UINT8 only at graph inputs and outputs, and casts it only to floats."""
    graph = Graph(path)
    (crop,) = [value.name for value in graph.inputs if graph.kind(value.name) == 'UINT8']
    assert crop == 'crop'
    (cast,) = [node for node in graph.nodes if crop in node.input]
    assert cast.op_type == 'Cast'
    assert graph.kind(cast.output[0]) == 'FP32'
    assert not [n for n in graph.nodes if any(graph.kind(o) == 'UINT8' for o in n.output if o)]


def test_graphs_that_tensorrt_does_not_support_are_detected(tmp_path: Path) -> None:
    """Check the checker itself."""
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node('Det', ['x'], ['a'], name='an operator'),
        helper.make_node('Softmax', ['i'], ['b'], name='a type'),
        helper.make_node('Reshape', ['x', 's'], ['c'], name='a computed shape'),
        helper.make_node('ReduceMean', ['x'], ['d'], name='an attribute', noop_with_empty_axes=1),
        helper.make_node('DequantizeLinear', ['q', 'scale', 'zero'], ['e'], name='a zero point'),
    ]
    values = {'x': kinds.FLOAT, 'i': kinds.INT64, 's': kinds.INT64, 'q': kinds.INT8}
    inputs = [helper.make_tensor_value_info(name, kind, [4]) for name, kind in values.items()]
    constants = [
        helper.make_tensor('scale', kinds.FLOAT, [], [0.5]),
        helper.make_tensor('zero', kinds.INT8, [], [3]),
    ]
    graph = helper.make_graph(nodes, 'bad', inputs, [], constants)
    path = tmp_path / 'bad.onnx'
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)]), path)
    found = faults(Graph(path), '8.6')
    assert found[0] == 'opset 18 of ONNX'
    assert [fault.split(':')[0] for fault in found[1:]] == [node.name for node in nodes]
    assert faults(Graph(path), '10.3')[0].startswith('an operator')
