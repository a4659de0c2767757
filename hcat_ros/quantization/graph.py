# SPDX-License-Identifier: Apache-2.0
"""Writes INT8 graphs with QuantizeLinear and DequantizeLinear nodes from calibration examples."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime import quantization as ort

from hcat_ros.engines.onnxruntime_engine import DISABLED_OPTIMIZERS
from hcat_ros.models import SEARCH_FILE, TEMPLATE_FILE, Model
from hcat_ros.quantization.examples import Crops

Inputs = dict[str, NDArray[np.generic]]
"""Inputs of the search graph by name."""

WEIGHTED = ('Conv', 'Gemm')
"""Operators worth quantising: they do nearly all multiplications."""
ACTIVATIONS = ('Clip', 'Relu')
PASSED_THROUGH = ('MaxPool',)


class Error(NamedTuple):
    """Differences from the answers of the float graph, means over examples."""

    scores: float
    """Mean absolute difference of the scores, 0..1."""
    box: float
    """Largest difference among cx, cy, w and h between the box of the best cell and that of the
    float graph's best cell, as a share of the search region."""


class SearchQuantizer:
    """Writes variants of a model's search graph, with each layer in INT8 or in float."""

    def __init__(
        self, model: Model, calibration: Sequence[Crops], test: Sequence[Crops], folder: Path
    ) -> None:
        """Read the graph and run it on the test crops. folder: for temporary files.

        Raises ModelError.
        """
        self.name = str(model.folder / SEARCH_FILE)
        # Copy the graph, because ONNX Runtime writes files beside the graph that it quantises.
        self.source = folder / f'float-{SEARCH_FILE}'
        self.source.write_bytes(model.content(SEARCH_FILE))
        self.graph = onnx.load(str(self.source)).graph
        self._folder = folder
        template = _session(model.file(TEMPLATE_FILE))
        names = [output.name for output in template.get_outputs()]
        self._calibration, self._test = (
            [
                {
                    'crop': crops.search[None],
                    **dict(zip(names, template.run(names, {'crop': crops.template[None]}))),
                }
                for crops in which
            ]
            for which in (calibration, test)
        )
        self._answers = list(self._run(self.source))

    @property
    def layers(self) -> list[str]:
        """Names of the layers that can be quantised, in the order of the graph."""
        return [node.name for node in self.graph.node if node.op_type in WEIGHTED]

    def write(self, path: Path, in_float: Collection[str], tensorrt: bool = False) -> None:
        """Write the graph with all layers in INT8 except those in `in_float`.

        Weights are int8, symmetric, with one scale per channel. For CPUs activations are uint8, and
        each layer's output is quantised after its activation function: ONNX Runtime and OpenVINO
        compute such a layer in integers from end to end. For TensorRT activations are int8 and
        symmetric, only the inputs of layers are quantised, and biases stay in float, as TensorRT's
        parser requires.
        """
        unknown = set(in_float) - set(self.layers)
        if unknown:
            raise ValueError(
                f'{self.name} has no layers {", ".join(sorted(unknown))} that can be quantised'
            )
        nodes = self._nodes(in_float)
        kind = ort.QuantType.QInt8 if tensorrt else ort.QuantType.QUInt8
        options: dict[str, object] = {
            'ActivationSymmetric': tensorrt,
            'WeightSymmetric': True,
            # The values of all tensors for all examples would take gigabytes.
            'CalibMaxIntermediateOutputs': 8,
        }
        types = [*WEIGHTED, *ACTIVATIONS, *PASSED_THROUGH, 'Add']
        if tensorrt:
            types = [*WEIGHTED, 'Add']
            options |= {'OpTypesToExcludeOutputQuantization': types, 'QuantizeBias': False}
        with _silent():
            ort.quantize_static(
                str(self.source),
                str(path),
                _Reader(self._calibration),
                quant_format=ort.QuantFormat.QDQ,
                op_types_to_quantize=types,
                nodes_to_quantize=[n.name for n in nodes if n.op_type in types],
                per_channel=True,
                activation_type=kind,
                weight_type=ort.QuantType.QInt8,
                calibrate_method=ort.CalibrationMethod.MinMax,
                calibration_cache_path=str(self._folder / f'ranges-{tensorrt:d}.json'),
                extra_options=options,
            )

    def _nodes(self, in_float: Collection[str]) -> list[onnx.NodeProto]:
        """Return the nodes to quantise: layers, and simple operators that follow only these."""
        makers = {name: node for node in self.graph.node for name in node.output}
        chosen: dict[str, onnx.NodeProto] = {}
        for node in self.graph.node:
            inputs = [makers[name] for name in node.input if name in makers]
            follows = bool(inputs) and all(maker.name in chosen for maker in inputs)
            if node.op_type in WEIGHTED:
                wanted = node.name not in in_float
            elif node.op_type in (*ACTIVATIONS, *PASSED_THROUGH):
                wanted = follows
            else:
                wanted = node.op_type == 'Add' and len(inputs) == 2 and follows
            if wanted:
                chosen[node.name] = node
        return list(chosen.values())

    def error(self, path: Path) -> Error:
        """Return how far a graph's answers to the test crops are from the float graph's."""
        scores, box = [], []
        for found, expected in zip(self._run(path), self._answers):
            scores.append(float(np.abs(found[0] - expected[0]).mean()))
            box.append(float(np.abs(_best(*found) - _best(*expected)).max()))
        return Error(float(np.mean(scores)), float(np.mean(box)))

    def alone(self, layer: str) -> Error:
        """Return the error of the graph in which only this layer is quantised."""
        path = self._folder / 'alone.onnx'
        self.write(path, set(self.layers) - {layer})
        return self.error(path)

    def _run(self, path: Path) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Run a graph; yield scores (grid, grid) and boxes (n, 4) of each test example."""
        session = _session(path)
        for example in self._test:
            scores, boxes = session.run(['scores', 'boxes'], example)
            yield scores[0], boxes[0]


class _Reader(ort.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, examples: Sequence[Inputs]) -> None:
        self._examples = iter(examples)

    def get_next(self) -> Inputs | None:
        return next(self._examples, None)


def _best(scores: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the box of the best cell."""
    return np.asarray(boxes[int(np.argmax(scores))])


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(path),
        options,
        providers=['CPUExecutionProvider'],
        disabled_optimizers=DISABLED_OPTIMIZERS,
    )


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Silence ONNX Runtime's advice and reports, which each of many calls would repeat."""
    before, handler = logging.root.manager.disable, logging.NullHandler()
    logging.disable(logging.WARNING)
    # Without a handler the library's first warning would set up logging for the whole process.
    logging.root.addHandler(handler)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.root.removeHandler(handler)
        logging.disable(before)
