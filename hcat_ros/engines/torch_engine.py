# SPDX-License-Identifier: Apache-2.0
"""PyTorch: the network itself, on the CPU or on CUDA. Needs the model's weights, not its graphs.

CUDA has not been run on hardware.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import (
    EngineCard,
    EngineError,
    Prediction,
    check_crop,
    resolve_precision,
)
from hcat_ros.models import WEIGHTS_FILE, Model

if TYPE_CHECKING:
    import torch

    from hcat_ros.network.hcat import TemplateFeatures

PRECISIONS = {'cpu': ('fp32', 'bf16'), 'cuda': ('fp16', 'fp32', 'bf16')}


class TorchEngine:
    """Runs the network in PyTorch, channels_last; fp16 and bf16 use autocast."""

    def __init__(self, model: Model, precision: str = 'auto', threads: int = 0) -> None:
        """Load the weights onto the GPU, or onto the CPU without CUDA.

        threads: intra-op threads of the whole process, 0 for PyTorch's default. Raises EngineError
        if PyTorch or the weights are missing or the weights do not fit the card; ModelError for a
        changed file.
        """
        try:
            import torch

            from hcat_ros.network.checkpoint import CheckpointError, load_checkpoint
        except ImportError as error:
            raise EngineError(
                f"PyTorch cannot be imported ({error}); pip install 'hcat_ros[export]'"
            ) from error
        self._torch = torch
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        precision = resolve_precision('torch', PRECISIONS[self._device.type], precision, threads)
        card = model.card
        if not (model.folder / WEIGHTS_FILE).is_file():
            raise EngineError(
                f'{model.folder / WEIGHTS_FILE} is missing, which torch needs; hcat export '
                'writes it'
            )
        path = model.folder / WEIGHTS_FILE
        try:
            network = load_checkpoint(path, model.content(WEIGHTS_FILE))
        except CheckpointError as error:
            raise EngineError(f'PyTorch cannot load {path}: {error}') from error
        config = network.config
        found = (config.template_size, config.search_size, config.search_grid)
        if found != (card.template_size, card.search_size, card.grid):
            raise EngineError(
                f'{path} has template_size, search_size and grid {found}, but its card says '
                f'{(card.template_size, card.search_size, card.grid)}; run hcat export again'
            )
        if threads:
            torch.set_num_threads(threads)
        self._network = network.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        kinds = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
        self._dtype = kinds[precision]
        self._card = EngineCard.of(card, 'torch', torch.__version__, precision)

    @property
    def card(self) -> EngineCard:
        """Description of this engine."""
        return self._card

    def template(self, crop: NDArray[np.uint8]) -> TemplateFeatures:
        """Return the features of a template crop, tensors on the device."""
        check_crop(crop, self._card.template_size, 'template')
        torch = self._torch
        try:
            with torch.inference_mode(), self._autocast():
                image = torch.from_numpy(np.array(crop)[None]).to(self._device)
                features: TemplateFeatures = self._network.template(self._network.normalise(image))
                return features
        except RuntimeError as error:
            raise EngineError(f'PyTorch failed on the template: {error}') from error

    def search(self, crop: NDArray[np.uint8], features: TemplateFeatures) -> Prediction:
        """Find the template in a search crop."""
        check_crop(crop, self._card.search_size, 'search')
        torch, grid = self._torch, self._card.grid
        try:
            with torch.inference_mode(), self._autocast():
                image = torch.from_numpy(np.array(crop)[None]).to(self._device)
                logits, boxes = self._network.search(self._network.normalise(image), features)
                scores = logits.float().softmax(dim=2)[0, :, 0].reshape(grid, grid)
                return Prediction(scores.cpu().numpy(), boxes[0].float().cpu().numpy())
        except RuntimeError as error:
            raise EngineError(f'PyTorch failed on the search region: {error}') from error

    def _autocast(self) -> torch.autocast:
        kind, enabled = self._device.type, self._dtype != self._torch.float32
        context: torch.autocast = self._torch.autocast(kind, self._dtype, enabled=enabled)
        return context
