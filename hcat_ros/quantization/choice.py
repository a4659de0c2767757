# SPDX-License-Identifier: Apache-2.0
"""Finds how few layers can stay in float so that an INT8 graph still reaches a given AO."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hcat_ros.evaluation.clips import Clip, keep_scorable
from hcat_ros.evaluation.one_pass import measures
from hcat_ros.evaluation.passes import PassTask, run_passes
from hcat_ros.evaluation.trackers import HcatSpec
from hcat_ros.models import (
    CARD_FILE,
    INT8_SEARCH_FILE,
    SEARCH_FILE,
    TEMPLATE_FILE,
    Model,
    add_to_model,
    load_model,
)
from hcat_ros.quantization.graph import SearchQuantizer

LOG = logging.getLogger(__name__)


class Overlap(NamedTuple):
    """Average overlap (AO) over sequences."""

    starts: tuple[float, ...]
    """Mean AO of the sequences for each first box: the true box, then variants that are 2 % off."""

    @property
    def mean(self) -> float:
        """Mean of `starts`."""
        return float(np.mean(self.starts))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, 0 for a single start."""
        n = len(self.starts)
        return float(np.std(self.starts, ddof=1) / np.sqrt(n)) if n > 1 else 0.0

    def __str__(self) -> str:
        true = f'from the true boxes {self.starts[0]:.3f}'
        return f'{self.mean:.3f} ± {self.standard_error:.3f} ({true})'


class Judge:
    """Measures the average overlap that a search graph reaches when it tracks."""

    def __init__(
        self,
        model: Model,
        clips: Sequence[Clip],
        folder: Path,
        starts: int = 1,
        jobs: int = 1,
        initialise: Callable[[], None] | None = None,
    ) -> None:
        """folder: for temporary files. starts, jobs, initialise: see `evaluation.passes`.

        Clips without a second box are left out with a warning. Raises ValueError if none is left.
        """
        self._model, self._clips, self._folder = model, keep_scorable(clips), folder
        self._starts, self._jobs, self._initialise = starts, jobs, initialise

    def float_overlap(self) -> Overlap:
        """Measure the model's own float graph."""
        return self._overlap(self._model.folder, 'fp32')

    def overlap(self, graph: Path, for_tensorrt: bool = False) -> Overlap:
        """Measure an INT8 graph in ONNX Runtime.

        A graph for TensorRT is run in place of the float graph: ONNX Runtime emulates its rounding
        in float.
        """
        folder = self._folder / f'judged-{graph.stem}'
        folder.mkdir()
        shutil.copy(self._model.folder / CARD_FILE, folder)
        for name in (TEMPLATE_FILE, SEARCH_FILE):
            shutil.copy(self._model.file(name), folder)
        judged, name = load_model(folder), SEARCH_FILE if for_tensorrt else INT8_SEARCH_FILE
        # Leave out reference.npz, because the self-test could reject the graph to be measured.
        hashes = {file: judged.card.sha256[file] for file in (TEMPLATE_FILE, SEARCH_FILE)}
        add_to_model(judged, {name: graph}, sha256=hashes)
        return self._overlap(folder, 'fp32' if for_tensorrt else 'int8')

    def _overlap(self, folder: Path, precision: str) -> Overlap:
        spec = HcatSpec(str(folder), 'onnxruntime', precision)
        tasks = [
            PassTask(spec, clip, start) for start in range(self._starts) for clip in self._clips
        ]
        results = run_passes(tasks, self._jobs, self._initialise)
        truths = (task.clip.boxes[task.clip.visible[0] :] for task in tasks)
        found = [measures(answers, truth).ao for answers, truth in zip(results, truths)]
        return Overlap(tuple(np.reshape(found, (self._starts, -1)).mean(axis=1).tolist()))


def worst_first(quantizer: SearchQuantizer) -> list[str]:
    """Return the layers, sorted by how much quantising that layer alone changes the answers."""
    errors = {}
    for layer in quantizer.layers:
        error = errors[layer] = quantizer.alone(layer)
        LOG.info('%s alone in INT8: scores %.5f, box %.5f off', layer, *error)
    return sorted(errors, key=lambda layer: -sum(errors[layer]))


def prefixes(layers: Sequence[str]) -> Iterator[Collection[str]]:
    """Yield the first 0, 1, 2, 4, ... layers, up to half: with more in float INT8 hardly pays."""
    count = 0
    while count <= len(layers) // 2:
        yield layers[:count]
        count = max(1, 2 * count)


def write_accepted(
    quantizer: SearchQuantizer,
    judge: Judge,
    layers: Sequence[str],
    path: Path,
    floor: float,
    for_tensorrt: bool = False,
) -> tuple[Collection[str], Overlap] | None:
    """Try graphs with more and more layers in float; write the first that reaches `floor`.

    layers: all layers, in the order in which they are kept in float. floor: smallest accepted mean
    overlap. Returns the layers in float and the overlap, or None if no graph is good enough;
    rejected graphs stay beside `path`.
    """
    for in_float in prefixes(layers):
        tried = path.with_stem(f'{path.stem}-{len(in_float)}')
        quantizer.write(tried, in_float, for_tensorrt)
        overlap, error = judge.overlap(tried, for_tensorrt), quantizer.error(tried)
        LOG.info(
            '%s, %d of %d layers in float: AO %s; scores %.5f, box %.5f off',
            *(path.name, len(in_float), len(layers), overlap, *error),
        )
        if overlap.mean >= floor:
            tried.replace(path)
            return in_float, overlap
    return None
