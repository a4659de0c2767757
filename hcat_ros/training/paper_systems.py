# SPDX-License-Identifier: Apache-2.0
"""Builds, counts, exports and runs the paper's systems in PyTorch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcat_ros.engines import Engine, EngineCard, Prediction
from hcat_ros.evaluation.paper.systems import Cost
from hcat_ros.evaluation.paper.turns import Job, Loaded, Prepared, load_systems
from hcat_ros.evaluation.reference_engine import ReferenceGraphs
from hcat_ros.evaluation.workers import worker_pool
from hcat_ros.models import WEIGHTS_FILE, Model
from hcat_ros.network import HCAT, load_checkpoint
from hcat_ros.network.cost import (
    parameters,
    reference_multiply_adds,
    search_multiply_adds,
    whole_multiply_adds,
)
from hcat_ros.network.export import export_model
from hcat_ros.network.reference_graph import (
    SEARCH_FILE,
    TEMPLATE_FILE,
    ReferenceSearch,
    export_reference,
)
from hcat_ros.training.build import UNTRAINED, untrained_network


def count(path: Path) -> Cost:
    """Return the parameters and multiply-adds of a run file's network.

    Raises what `load_config` raises; ModuleNotFoundError if the backbone needs timm.
    """
    with torch.device('meta'):  # shapes only, without memory or computation
        return _cost(untrained_network(path))


def _cost(model: HCAT) -> Cost:
    counts = whole_multiply_adds, reference_multiply_adds, search_multiply_adds
    return Cost(parameters(model), *(of(model) for of in counts))


def prepare(name: str, path: Path, models: Path, authors: Path) -> Prepared:
    """Export an untrained system in our form to `models`/name, in the authors' to `authors`/name.

    path: the system's run file. Raises what `count` raises; ExportError, OSError.
    """
    model = untrained_network(path).eval()
    export_model(model, models / name, name, card={'description': UNTRAINED})
    made = authors / name
    made.mkdir(parents=True)
    export_reference(model, made)
    config, backbone = model.config, model.backbone
    sizes = config.template_size, config.search_size, config.search_grid
    files = made / TEMPLATE_FILE, made / SEARCH_FILE
    cost = _cost(model.to('meta'))
    graphs = ReferenceGraphs(name, *files, *sizes, backbone.mean, backbone.std, cost.authors)
    return Prepared(name, cost, str(models / name), graphs)


def prepare_all(
    files: Mapping[str, Path], models: Path, authors: Path, processes: int
) -> Iterator[tuple[str, Prepared | str]]:
    """Yield each system's name with the result of `prepare`, or with why it cannot be built."""
    with worker_pool(processes, _one_thread) as pool:
        tasks = [pool.submit(prepare, *file, models, authors) for file in files.items()]
        for name, task in zip(files, tasks):
            try:
                yield name, task.result()
            except ModuleNotFoundError as error:
                yield name, str(error)


def _one_thread() -> None:
    torch.set_num_threads(1)


class TorchReference:
    """The authors' form in PyTorch, with the interface of `ReferenceEngine`."""

    def __init__(self, graphs: ReferenceGraphs, network: HCAT) -> None:
        self.card = EngineCard(
            graphs.model,
            'torch',
            torch.__version__,
            'fp32',
            graphs.template_size,
            graphs.search_size,
            graphs.grid,
        )
        self._mean = np.array(graphs.mean, np.float32)[:, None, None]
        self._std = np.array(graphs.std, np.float32)[:, None, None]
        self._backbone = network.backbone
        self._search = ReferenceSearch(network).eval()
        self.preparing = 0.0
        """Duration of the normalisation in the last `search`, s."""

    def template(self, crop: NDArray[np.uint8]) -> Any:
        """Return the backbone's features of a template crop, (1, C, h, w)."""
        with torch.inference_mode():
            return self._backbone(self._normalised(crop))

    def search(self, crop: NDArray[np.uint8], features: Any) -> Prediction:
        """Find the template in a search crop."""
        started = time.perf_counter()
        image = self._normalised(crop)
        self.preparing = time.perf_counter() - started
        with torch.inference_mode():
            scores, boxes = self._search(image, features)
            return Prediction(scores[0].numpy(), boxes[0].numpy())

    def _normalised(self, crop: NDArray[np.uint8]) -> Tensor:
        values = np.array(cv2.split(crop), np.float32)
        return torch.from_numpy((values - self._mean) / self._std)[None]


def load_torch(job: Job) -> Loaded:
    """Load the systems into PyTorch on the CPU, in both forms."""
    os.environ['CUDA_VISIBLE_DEVICES'] = ''  # all systems are compared on the CPU
    if job.threads:
        torch.set_num_threads(job.threads)
    return load_systems(job, _torch_reference)


def _torch_reference(system: Prepared, model: Model, _: int) -> Engine:
    return TorchReference(system.graphs, load_checkpoint(model.file(WEIGHTS_FILE)))
