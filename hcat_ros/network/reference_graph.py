# SPDX-License-Identifier: Apache-2.0
"""The graphs in the authors' form with the same weights, a baseline for `hcat benchmark`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from hcat_ros.network.hcat import HCAT, without_backbone
from hcat_ros.network.onnx_graph import write_graph

TEMPLATE_FILE = 'reference_template.onnx'
SEARCH_FILE = 'reference_search.onnx'


class ReferenceSearch(nn.Module):
    """Maps a search image (1, 3, 256, 256) and template features to scores and boxes.

    The image is normalised. The features (1, C_backbone, 8, 8) are the backbone's; projection, FS
    and everything else that depends on the template alone are computed at every call. Scores are
    (1, 16, 16), boxes (1, 256, 4).
    """

    def __init__(self, model: HCAT) -> None:
        super().__init__()
        self.model = model
        self.headless = without_backbone(model)

    def forward(self, search: Tensor, template: Tensor) -> tuple[Tensor, Tensor]:
        prediction = self.model.search(search, self.headless.template(template))
        grid = self.model.config.search_grid
        scores = prediction.logits.softmax(dim=2)[:, :, 0].reshape(-1, grid, grid)
        return scores, prediction.boxes


def export_reference(model: HCAT, folder: Path) -> None:
    """Write the graphs in the authors' form into `folder`, which must exist.

    `reference_template.onnx` maps `template`, normalised float32 RGB (1, 3, 128, 128), to
    `features` (1, C_backbone, 8, 8). `reference_search.onnx` is `ReferenceSearch`: it maps
    `search`, normalised float32 RGB (1, 3, 256, 256), and `features` to `scores` (1, 16, 16) and
    `boxes` (1, 256, 4). The graphs have batch 1 and are not simplified further, like the authors'
    own files. Leaves the model in evaluation mode.
    """
    config = model.config
    z = torch.zeros(1, 3, config.template_size, config.template_size)
    x = torch.zeros(1, 3, config.search_size, config.search_size)
    features = torch.zeros(1, model.backbone.channels, config.template_grid, config.template_grid)
    write_graph(model.backbone, (z,), ['template'], ['features'], folder / TEMPLATE_FILE)
    inputs, outputs = ['search', 'features'], ['scores', 'boxes']
    write_graph(ReferenceSearch(model), (x, features), inputs, outputs, folder / SEARCH_FILE)
    model.eval()
