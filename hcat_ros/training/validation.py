# SPDX-License-Identifier: Apache-2.0
"""Measures a network's average overlap on whole sequences, by which the best weights are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hcat_ros.engines import EngineCard, EngineError, Prediction
from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.metrics import average_overlap, overlaps
from hcat_ros.evaluation.one_pass import one_pass
from hcat_ros.network import HCAT
from hcat_ros.network.hcat import TemplateFeatures
from hcat_ros.tracking import Tracker, TrackerConfig
from hcat_ros.tracking.encodings import Image
from hcat_ros.training.images import ImageCache


class NetworkEngine:
    """Wraps a network in memory as an engine, to measure it during training."""

    def __init__(self, model: HCAT) -> None:
        self.model = model.eval()
        self.device = next(model.parameters()).device
        config = model.config
        self.card = EngineCard(
            'in memory',
            'torch',
            torch.__version__,
            'fp32',
            config.template_size,
            config.search_size,
            config.search_grid,
        )

    @torch.inference_mode()
    def template(self, crop: NDArray[np.uint8]) -> TemplateFeatures:
        """Return the features of a template crop."""
        return self.model.template(self._input(crop, self.card.template_size))

    @torch.inference_mode()
    def search(self, crop: NDArray[np.uint8], features: TemplateFeatures) -> Prediction:
        """Find the template in a search crop."""
        found = self.model.search(self._input(crop, self.card.search_size), features)
        grid = self.card.grid
        scores = found.logits[0].softmax(dim=1)[:, 0].reshape(grid, grid)
        return Prediction(scores.cpu().numpy(), found.boxes[0].cpu().numpy())

    def _input(self, crop: NDArray[np.uint8], size: int) -> torch.Tensor:
        if crop.shape != (size, size, 3):
            raise EngineError(f'crop: expected shape {(size, size, 3)}, got {crop.shape}')
        return self.model.normalise(torch.from_numpy(crop[None]).to(self.device))


def average_overlaps(
    model: HCAT, clips: Sequence[Clip], config: TrackerConfig, frames: int = 0
) -> dict[str, float]:
    """Return AO, the mean IoU of one pass without resets, by sequence name.

    The first box's frame and frames without the target do not count; a sequence without other
    frames is left out. frames: number of frames used of each sequence, 0 for all. Raises ValueError
    for an image that cannot be read and if there is nothing to measure.
    """
    tracker = Tracker(NetworkEngine(model), config)
    result = {}
    for clip in clips:
        first, last = int(clip.visible[0]), frames or len(clip.images)
        answers = one_pass(tracker, _read(clip.images[first:last]), clip.boxes[first])
        found = overlaps(answers.boxes[1:], clip.boxes[first + 1 : last])
        if np.isfinite(found).any():
            result[clip.name] = average_overlap(found)
    if not result:
        raise ValueError('nothing to measure: no sequence has a second box')
    return result


def _read(paths: Sequence[Path]) -> Iterator[Image]:
    cache = ImageCache(0)
    for path in paths:
        image = cache.read(path)
        if image is None:
            raise ValueError(f'{path} is not a readable image')
        yield image
