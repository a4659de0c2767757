# SPDX-License-Identifier: Apache-2.0
"""Doubles of TensorRT's network and of the layers that onnx-tensorrt creates from a graph."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

KINDS = (
    *('CONVOLUTION', 'ACTIVATION', 'ELEMENTWISE', 'UNARY', 'REDUCE', 'SOFTMAX', 'SHUFFLE'),
    *('MATRIX_MULTIPLY', 'CONSTANT', 'CAST', 'SLICE', 'GATHER', 'QUANTIZE', 'DEQUANTIZE', 'SHAPE'),
)
OPERATIONS = ('SUM', 'PROD', 'MAX', 'MIN', 'SUB', 'DIV', 'POW')
KIND_OF = {
    **dict.fromkeys(('Add', 'Mul', 'Sub', 'Div', 'Pow'), 'ELEMENTWISE'),
    'Sqrt': 'UNARY',
    'ReduceMean': 'REDUCE',
    'Softmax': 'SOFTMAX',
    'Conv': 'CONVOLUTION',
    'Clip': 'ACTIVATION',
    'Relu': 'ACTIVATION',
    'Sigmoid': 'ACTIVATION',
    'Cast': 'CAST',
    'MatMul': 'MATRIX_MULTIPLY',
    'Gemm': 'MATRIX_MULTIPLY',
    'Expand': 'SLICE',
    'Reshape': 'SHUFFLE',
    'Transpose': 'SHUFFLE',
    'Gather': 'GATHER',
    'QuantizeLinear': 'QUANTIZE',
    'DequantizeLinear': 'DEQUANTIZE',
}
OPERATION_OF = {'Add': 'SUM', 'Mul': 'PROD', 'Sub': 'SUB', 'Div': 'DIV', 'Pow': 'POW'}


class Enum(enum.Enum):
    """Like a pybind11 enum: converts to int, but never equals a member of another enum."""

    def __int__(self) -> int:
        return int(self.value)


def enumeration(name: str, *members: str) -> Any:
    return Enum(name, {member: number for number, member in enumerate(members)})


class Layer:
    """A network layer that records the precision and output types set on it."""

    def __init__(
        self, kind: Any, name: str, inputs: list[Any], output: Any, op: Any = None
    ) -> None:
        self.type, self.name, self._inputs, self._output, self._op = kind, name, inputs, output, op
        self.num_inputs, self.num_outputs = len(inputs), 1
        self.output_types: dict[int, Any] = {}
        self.precision_is_set = False

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._output

    @property
    def precision(self) -> Any:
        return self._precision

    @precision.setter
    def precision(self, kind: Any) -> None:
        self._precision, self.precision_is_set = kind, True

    def set_output_type(self, index: int, dtype: Any) -> None:
        self.output_types[index] = dtype


class OperationLayer(Layer):
    """IElementWiseLayer or IUnaryLayer: has `op`, which a plain Layer hides, as in the binding."""

    @property
    def op(self) -> Any:
        return self._op


class StronglyTypedLayer(Layer):
    """A layer of TensorRT 11, whose precision and output types cannot be set."""

    precision = property()
    set_output_type = property()


class ParserDouble:
    """Creates the layers that onnx-tensorrt creates from a graph, if our code inspects them."""

    def __init__(self, machine: Any, network: Any) -> None:
        self._machine, self._network, self._errors = machine, network, []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index: int) -> str:
        return str(self._errors[index])

    def parse(self, content: bytes) -> bool:
        import onnx

        try:
            onnx.checker.check_model(content)
        except Exception as error:
            self._errors.append(error)
            return False
        network, graph = self._network, onnx.load_model_from_string(content).graph
        network.onnx = content
        trt = self._machine.tensorrt
        for value in graph.input:
            shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
            network.inputs.append(
                SimpleNamespace(name=value.name, shape=shape, dtype=None, is_shape_tensor=False)
            )
        integers = {i.name for i in graph.initializer if i.data_type != onnx.TensorProto.FLOAT}
        tensors: dict[str, Any] = {}

        def tensor(name: str, integer: bool = False) -> Any:
            dtype = trt.DataType.INT32 if integer else trt.DataType.FLOAT
            return tensors.setdefault(name, SimpleNamespace(name=name, dtype=dtype))

        for value in graph.initializer:
            network.add('CONSTANT', value.name, [], tensor(value.name, value.name in integers))
        for node in graph.node:
            inputs = [tensor(name) for name in node.input if name]
            output, kind = tensor(node.output[0]), KIND_OF.get(node.op_type)
            if node.op_type == 'ReduceL2':  # three layers of one name
                square, total = tensor(f'{node.name} square'), tensor(f'{node.name} sum')
                network.add('ELEMENTWISE', node.name, inputs * 2, square, 'PROD')
                network.add('REDUCE', node.name, [square], total)
                network.add('UNARY', node.name, [total], output, 'SQRT')
                continue
            if kind in ('ELEMENTWISE', 'ACTIVATION', 'SLICE', 'SHUFFLE'):
                # Layers without an ONNX name reshape constants to the rank of the other input.
                for i, value in enumerate(inputs[:2] if kind == 'ELEMENTWISE' else ()):
                    if any(value.name == c.name for c in graph.initializer):
                        inputs[i] = tensor(f'{value.name} in {node.name}')
                        network.add('SHUFFLE', '(Unnamed Layer)', [value], inputs[i])
            operation = 'SQRT' if node.op_type == 'Sqrt' else OPERATION_OF.get(node.op_type)
            assert kind, f'the double has no layer for {node.op_type}'
            network.add(kind, node.name, inputs, output, operation)
        # Integer shape arithmetic uses the same kinds of layers; our code must not change them.
        network.add('ELEMENTWISE', 'shape', [tensor('s', True)] * 2, tensor('2s', True), 'PROD')
        return True


class NetworkDouble:
    def __init__(self, machine: Any) -> None:
        self._trt, self.layers, self.inputs = machine.tensorrt, [], []
        self._layer = Layer if machine.release < (11,) else StronglyTypedLayer
        self.onnx = b''
        machine.networks.append(self)

    def add(self, kind: str, name: str, inputs: list[Any], output: Any, op: str = '') -> None:
        trt = self._trt
        operations = {**trt.ElementWiseOperation.__members__, **trt.UnaryOperation.__members__}
        self.layers.append(
            self._layer(trt.LayerType[kind], name, inputs, output, operations.get(op))
        )

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]

    def get_input(self, index: int) -> Any:
        return self.inputs[index]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)
