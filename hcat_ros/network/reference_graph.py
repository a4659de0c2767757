# SPDX-License-Identifier: Apache-2.0
"""The authors' form of the graphs, for the same weights: what `hcat benchmark` compares with."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from hcat_ros.network.hcat import HCAT

OPSET = 16
TEMPLATE_FILE = 'reference_template.onnx'
SEARCH_FILE = 'reference_search.onnx'


class ReferenceSearch(nn.Module):
    """Search image (1, 3, 256, 256) and template features -> scores (1, 16, 16), boxes.

    The image is normalised, the features (1, C_backbone, 8, 8) are the backbone's: projection,
    FS and all else that depends on the template alone are computed at every call. Boxes are
    (1, 256, 4).
    """

    def __init__(self, model: HCAT) -> None:
        super().__init__()
        self.model = model
        # The same network, weights shared, that takes a backbone's features for an image.
        self.headless = copy.copy(model)
        self.headless._modules = {**model._modules, 'backbone': nn.Identity()}

    def forward(self, search: Tensor, template: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.model.search(search, self.headless.template(template))
        grid = self.model.config.search_grid
        scores = prediction.logits.softmax(dim=2)[:, :, 0].reshape(-1, grid, grid)
        return scores, prediction.boxes


def export_reference(model: HCAT, folder: Path) -> None:
    """Write the graphs of the authors' form into `folder`, which exists.

    `reference_template.onnx`: `template`, float32 RGB (1, 3, 128, 128), normalised, to
    `features` (1, C_backbone, 8, 8). `reference_search.onnx`: `search`, float32
    (1, 3, 256, 256), normalised, and `features` to `scores` (1, 16, 16) and `boxes`
    (1, 256, 4), as `ReferenceSearch`. Opset 16, static, batch 1, as `torch.onnx.export` writes
    them: it folds BatchNorm into convolutions and folds constants; nothing simplifies them
    further but the optimiser of the runtime that loads them, as with the authors' own files.
    Leaves the model in evaluation mode.
    """
    config = model.config
    z = torch.zeros(1, 3, config.template_size, config.template_size)
    x = torch.zeros(1, 3, config.search_size, config.search_size)
    features = torch.zeros(1, model.backbone.channels, config.template_grid, config.template_grid)
    _export(model.backbone, (z,), ['template'], ['features'], folder / TEMPLATE_FILE)
    inputs, outputs = ['search', 'features'], ['scores', 'boxes']
    _export(ReferenceSearch(model), (x, features), inputs, outputs, folder / SEARCH_FILE)
    model.eval()


def _export(
    graph: nn.Module, args: tuple[Tensor, ...], inputs: list[str], outputs: list[str], path: Path
) -> None:
    # Before the export, which returns the module to the mode in which it finds it.
    graph.eval()
    with warnings.catch_warnings():
        # The tracer warns of every Python number; shapes are static on purpose.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            graph,
            args,
            str(path),
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamo=False,  # the newer exporter writes opset 18 and above
        )
