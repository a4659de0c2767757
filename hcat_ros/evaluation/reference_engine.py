# SPDX-License-Identifier: Apache-2.0
"""The baseline of speed comparisons: an engine that runs the authors' graphs in ONNX Runtime."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines import EngineCard, EngineError, Prediction


@dataclass(frozen=True)
class ReferenceGraphs:
    """Files that `network.reference_graph.export_reference` wrote, and facts of their network."""

    model: str
    template: Path
    search: Path
    template_size: int
    search_size: int
    grid: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    multiply_adds: int
    """Multiply-adds of the search graph."""


class ReferenceEngine:
    """Runs the reference graphs as their authors do: normalises the crop, then runs the graph.

    `preparing` is the time that the last `search` spent on normalisation, in seconds. Subtract it
    to get the time of the graph alone.
    """

    def __init__(self, graphs: ReferenceGraphs, threads: int = 0) -> None:
        """Load the graphs. threads: as in `OnnxRuntimeEngine`. Raises EngineError."""
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError(
                f'ONNX Runtime cannot be imported ({error}); pip install onnxruntime'
            ) from error
        # The settings are those of our own engine, so that only the graphs differ.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._template, self._search = (
                onnxruntime.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
                for path in (graphs.template, graphs.search)
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise EngineError(f'ONNX Runtime cannot load the reference graphs: {error}') from error
        self._mean = np.array(graphs.mean, np.float32)[:, None, None]
        self._scale = 1 / np.array(graphs.std, np.float32)[:, None, None]
        self._card = EngineCard(
            model=graphs.model,
            runtime='onnxruntime',
            runtime_version=onnxruntime.__version__,
            precision='fp32',
            template_size=graphs.template_size,
            search_size=graphs.search_size,
            grid=graphs.grid,
        )
        self.preparing = 0.0

    @property
    def card(self) -> EngineCard:
        """Description of this engine."""
        return self._card

    def template(self, crop: NDArray[np.uint8]) -> Any:
        """Return the backbone's features of a template crop, float32 (1, C, h, w)."""
        return self._template.run(['features'], {'template': self._normalise(crop)})[0]

    def search(self, crop: NDArray[np.uint8], features: Any) -> Prediction:
        """Find the template in a search crop."""
        started = time.perf_counter()
        inputs = {'search': self._normalise(crop), 'features': features}
        self.preparing = time.perf_counter() - started
        scores, boxes = self._search.run(['scores', 'boxes'], inputs)
        return Prediction(scores[0], boxes[0])

    def _normalise(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a uint8 RGB crop (H, W, 3) as normalised float32 (1, 3, H, W)."""
        # Splitting into planes first makes this 20 times faster than arithmetic on interleaved
        # colours. The baseline must not look slow because of its preprocessing.
        values = np.array(cv2.split(crop), np.float32)
        values -= self._mean
        values *= self._scale
        return values[None]
