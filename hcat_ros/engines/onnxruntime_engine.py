# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on the CPU: the engine that works everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import EngineCard, EngineError, Prediction
from hcat_ros.models import SEARCH_FILE, TEMPLATE_FILE, Model

if TYPE_CHECKING:
    import onnxruntime

PRECISIONS = ('fp32',)


class OnnxRuntimeFeatures:
    """A template's features, bound to the search graph's inputs by name."""

    def __init__(self, values: dict[str, onnxruntime.OrtValue]) -> None:
        self.values = values


class OnnxRuntimeEngine:
    """Runs a model's two graphs in ONNX Runtime, inputs and outputs in buffers made once."""

    def __init__(self, model: Model, precision: str = 'auto', threads: int = 0) -> None:
        """Load both graphs. threads: intra-op threads, 0 for one a physical core.

        Raises EngineError if ONNX Runtime is missing, the precision is not among `PRECISIONS`
        or a graph does not load; ModelError for a missing or changed file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError(
                f'ONNX Runtime cannot be imported ({error}); pip install onnxruntime'
            ) from error
        if precision not in ('auto', *PRECISIONS):
            raise EngineError(
                f"onnxruntime has no precision '{precision}'; it has {', '.join(PRECISIONS)}"
            )
        if threads < 0:
            raise EngineError(f'threads {threads}: expected 0 (one a core) or more')
        self._ort = onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach us as exceptions
        card = model.card
        self._template = self._session(model, TEMPLATE_FILE, card.template_size, options)
        self._search = self._session(model, SEARCH_FILE, card.search_size, options)
        scores = self._search.get_outputs()[0]
        if (scores.name, scores.shape) != ('scores', [1, card.grid, card.grid]):
            raise EngineError(
                f'{model.folder / SEARCH_FILE} gives {scores.name} {scores.shape}, but its card '
                f'says a grid of {card.grid}; run hcat export again'
            )
        self._card = EngineCard(
            model=card.name,
            runtime='onnxruntime',
            runtime_version=onnxruntime.__version__,
            precision='fp32',
            template_size=card.template_size,
            search_size=card.search_size,
            grid=card.grid,
        )
        self._binding = self._search.io_binding()
        self._bound: OnnxRuntimeFeatures | None = None
        self._crop = np.zeros((1, card.search_size, card.search_size, 3), np.uint8)
        self._scores = np.zeros((1, card.grid, card.grid), np.float32)
        self._boxes = np.zeros((1, card.grid**2, 4), np.float32)
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        try:
            self._binding.bind_ortvalue_input('crop', value(self._crop))
            self._binding.bind_ortvalue_output('scores', value(self._scores))
            self._binding.bind_ortvalue_output('boxes', value(self._boxes))
        except RuntimeError as error:
            raise EngineError(f'{model.folder / SEARCH_FILE}: {error}') from error

    def _session(
        self, model: Model, name: str, size: int, options: Any
    ) -> onnxruntime.InferenceSession:
        """Load a graph and check that its crop is as large as the card says."""
        path = model.file(name)
        try:
            session = self._ort.InferenceSession(
                str(path), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise EngineError(f'ONNX Runtime cannot load {path}: {error}') from error
        crop = session.get_inputs()[0]
        if (crop.name, crop.shape) != ('crop', [1, size, size, 3]):
            raise EngineError(
                f'{path} takes {crop.name} {crop.shape}, but its card says a crop of {size} px; '
                'run hcat export again'
            )
        return session

    @property
    def card(self) -> EngineCard:
        """What this engine is."""
        return self._card

    def template(self, crop: NDArray[np.uint8]) -> OnnxRuntimeFeatures:
        """Return the features of a template crop."""
        binding = self._template.io_binding()
        try:
            binding.bind_cpu_input('crop', np.ascontiguousarray(crop[None]))
            names = [output.name for output in self._template.get_outputs()]
            for name in names:
                binding.bind_output(name)
            self._template.run_with_iobinding(binding)
        except Exception as error:
            raise EngineError(f'ONNX Runtime failed on the template: {error}') from error
        return OnnxRuntimeFeatures(dict(zip(names, binding.get_outputs())))

    def search(self, crop: NDArray[np.uint8], features: OnnxRuntimeFeatures) -> Prediction:
        """Find the template in a search crop."""
        if crop.shape != self._crop.shape[1:]:
            raise EngineError(f'a search crop is {self._crop.shape[1:]}, got {crop.shape}')
        try:
            if features is not self._bound:
                for name, value in features.values.items():
                    self._binding.bind_ortvalue_input(name, value)
                self._bound = features
            self._crop[0] = crop
            self._search.run_with_iobinding(self._binding)
        except Exception as error:
            self._bound = None
            raise EngineError(f'ONNX Runtime failed on the search region: {error}') from error
        return Prediction(self._scores[0].copy(), self._boxes[0].copy())
