# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU: faster than ONNX Runtime on x86, and it has bf16 and INT8."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import (
    EngineCard,
    EngineError,
    Prediction,
    check_crop,
    check_shapes,
    graph_content,
    resolve_precision,
    search_file,
)
from hcat_ros.engines.signal_stack import keep_signal_stack
from hcat_ros.models import TEMPLATE_FILE, Model

if TYPE_CHECKING:
    import openvino

DEVICE = 'CPU'
PRECISIONS = {'fp32': 'f32', 'bf16': 'bf16', 'fp16': 'f16', 'int8': 'f32'}
"""Our precisions, and the type in which OpenVINO computes float layers; 'auto' takes the first."""
LARGEST_TENSORS = 2 << 30
"""Largest size of all tensors of a graph together, bytes. Ours have up to 320 MB, of which few are
held at once; a graph of 150 bytes can ask for gigabytes."""


class OpenVinoFeatures:
    """A template's features, as the search graph's inputs by name."""

    def __init__(self, values: dict[str, openvino.Tensor]) -> None:
        self.values = values


class OpenVinoEngine:
    """Runs a model's two graphs in OpenVINO; calls reuse input and output buffers."""

    def __init__(self, model: Model, precision: str = 'auto', threads: int = 0) -> None:
        """Load both graphs. threads: 0 for one per physical core.

        Raises EngineError if OpenVINO is missing, the processor lacks the precision or a graph
        does not load; ModelError for a missing or changed file.
        """
        # OpenVINO's telemetry starts a process that reports to a server and gets our signals.
        sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
        try:
            import openvino
        except ImportError as error:
            raise EngineError(
                f'OpenVINO cannot be imported ({error}); pip install openvino'
            ) from error
        self._ov = openvino
        with keep_signal_stack():
            self._load(model, precision, threads)

    def _load(self, model: Model, precision: str, threads: int) -> None:
        openvino = self._ov
        self._core = openvino.Core()
        able = self._core.get_property(DEVICE, 'OPTIMIZATION_CAPABILITIES')
        has = [name for name in PRECISIONS if name.upper() in able]
        precision = resolve_precision('openvino', has, precision, threads)
        search = search_file(model, precision)
        options: dict[str, Any] = {
            'PERFORMANCE_HINT': 'LATENCY',
            # Without this hint OpenVINO computes in bf16 on processors that support it.
            'INFERENCE_PRECISION_HINT': PRECISIONS[precision],
            'NUM_STREAMS': 1,
        }
        if threads:
            options['INFERENCE_NUM_THREADS'] = threads
        card = model.card
        self._template = self._request(model, TEMPLATE_FILE, card.template_size, options)
        self._search = self._request(model, search, card.search_size, options, card.grid)
        version = openvino.__version__.split('-')[0]
        self._card = EngineCard.of(card, 'openvino', version, precision)
        inputs = [value.get_any_name() for value in self._search.model_inputs]
        self._names = [name for name in inputs if name != 'crop']
        self._bound: OpenVinoFeatures | None = None
        self._template_crop = self._input(self._template, card.template_size)
        self._search_crop = self._input(self._search, card.search_size)
        self._scores = self._search.get_tensor('scores').data
        self._boxes = self._search.get_tensor('boxes').data

    def _request(
        self, model: Model, name: str, size: int, options: dict[str, Any], grid: int = 0
    ) -> openvino.InferRequest:
        """Load a graph and check its sizes against the model's card."""
        path, content = model.folder / name, graph_content(model, name)
        try:
            graph = self._core.read_model(content, b'')
            if (total := _size_of_tensors(graph)) > LARGEST_TENSORS:
                raise RuntimeError(f'its tensors take {total} bytes, more than {LARGEST_TENSORS}')
            compiled = self._core.compile_model(graph, DEVICE, options)
        except Exception as error:  # OpenVINO raises RuntimeError and exceptions of its own
            raise EngineError(f'OpenVINO cannot load {path}: {error}') from error
        takes = {name: list(value.shape) for value in compiled.inputs for name in value.names}
        gives = {name: list(value.shape) for value in compiled.outputs for name in value.names}
        check_shapes(path, takes.get('crop'), size, gives.get('scores'), grid)
        return compiled.create_infer_request()

    def _input(self, request: openvino.InferRequest, size: int) -> NDArray[np.uint8]:
        """Bind a buffer (1, size, size, 3) to the graph's input `crop` and return it."""
        crop = np.zeros((1, size, size, 3), np.uint8)
        request.set_tensor('crop', self._ov.Tensor(crop, shared_memory=True))
        return crop

    @property
    def card(self) -> EngineCard:
        """Description of this engine."""
        return self._card

    def template(self, crop: NDArray[np.uint8]) -> OpenVinoFeatures:
        """Return the features of a template crop."""
        check_crop(crop, self._card.template_size, 'template')
        try:
            self._template_crop[0] = crop
            self._template.infer()
            # Copy, because the next template overwrites the request's own tensors.
            values = {name: self._template.get_tensor(name).data.copy() for name in self._names}
        except Exception as error:
            raise EngineError(f'OpenVINO failed on the template: {error}') from error
        return OpenVinoFeatures({name: self._ov.Tensor(value) for name, value in values.items()})

    def search(self, crop: NDArray[np.uint8], features: OpenVinoFeatures) -> Prediction:
        """Find the template in a search crop."""
        check_crop(crop, self._card.search_size, 'search')
        try:
            if features is not self._bound:
                for name, value in features.values.items():
                    self._search.set_tensor(name, value)
                self._bound = features
            self._search_crop[0] = crop
            self._search.infer()
        except Exception as error:
            self._bound = None
            raise EngineError(f'OpenVINO failed on the search region: {error}') from error
        return Prediction(self._scores[0].copy(), self._boxes[0].copy())


def _size_of_tensors(graph: openvino.Model) -> int:
    """Return the size of all tensors of a graph, bytes; ones of unknown size count as empty."""
    outputs = [output for operator in graph.get_ops() for output in operator.outputs()]
    return sum(
        output.get_element_type().size
        * math.prod(max(length.get_max_length(), 0) for length in output.get_partial_shape())
        for output in outputs
    )
