# SPDX-License-Identifier: Apache-2.0
"""Exports a network to a model folder: ONNX graphs, reference outputs, weights and the card."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import onnxslim
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hcat_ros.files import check_name, scratch_folder
from hcat_ros.models import (
    CARD_FILE,
    REFERENCE_FILE,
    SEARCH_FILE,
    TEMPLATE_FILE,
    WEIGHTS_FILE,
    ModelCard,
    card_text,
)
from hcat_ros.network.checkpoint import save_checkpoint
from hcat_ros.network.hcat import HCAT
from hcat_ros.network.onnx_graph import write_graph

TOLERANCE = 1e-4
"""Largest difference allowed between ONNX Runtime and PyTorch, in scores and boxes."""


class ExportError(RuntimeError):
    """Raised when a graph cannot be written or does not compute what the network computes."""


class TemplateGraph(nn.Module):
    """Maps a uint8 RGB crop (1, 128, 128, 3) to the template's features."""

    def __init__(self, model: HCAT) -> None:
        super().__init__()
        self.model = model

    def forward(self, crop: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.template(self.model.normalise(crop)).values())


class SearchGraph(nn.Module):
    """Maps a uint8 RGB crop (1, 256, 256, 3) and the features to scores and boxes.

    Scores are (1, 16, 16), boxes (1, 256, 4).
    """

    def __init__(self, model: HCAT, feature_names: list[str]) -> None:
        super().__init__()
        self.model = model
        self.feature_names = feature_names

    def forward(self, crop: Tensor, *features: Tensor) -> tuple[Tensor, Tensor]:
        named = dict(zip(self.feature_names, features))
        prediction = self.model.search(self.model.normalise(crop), named)
        grid = self.model.config.search_grid
        scores = prediction.logits.softmax(dim=2)[:, :, 0].reshape(-1, grid, grid)
        return scores, prediction.boxes


def export_model(
    model: HCAT,
    folder: Path,
    name: str | None = None,
    card: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """Write `template.onnx`, `search.onnx`, `reference.npz`, the weights and `model.yaml`.

    The graphs have opset 16, static shapes, batch 1 and uint8 NHWC inputs, and include the
    normalisation and the softmax. They are compared with the network in PyTorch before any file in
    `folder` is changed. name: the model's name, by default the folder's. card: further fields of
    `ModelCard`. progress: called with a line before each stage. Returns the largest differences of
    'scores' and 'boxes'. Raises ExportError if one is above `TOLERANCE`; ValueError if the folder's
    path is not UTF-8, because PyTorch cannot write there.
    """
    check_name(folder)
    model = model.eval()
    config = model.config
    crops = _crops(config.template_size, config.search_size)
    with scratch_folder('export', folder.parent) as made:
        with torch.inference_mode():
            template_graph = TemplateGraph(model).eval()
            names = list(model.template(model.normalise(crops[0])))
            progress(f'writing {TEMPLATE_FILE}')
            _export(template_graph, (crops[0],), ['crop'], names, made / TEMPLATE_FILE)
            search_graph = SearchGraph(model, names).eval()
            features = template_graph(crops[0])
            progress(f'writing {SEARCH_FILE}')
            outputs = ['scores', 'boxes']
            inputs = (crops[1], *features)
            _export(search_graph, inputs, ['crop', *names], outputs, made / SEARCH_FILE)
            progress('comparing ONNX Runtime with PyTorch')
            expected = [value.numpy() for value in search_graph(*inputs)]
        differences = _compare(made, crops, dict(zip(outputs, expected)))
        z, x = (crop[0].numpy() for crop in crops)
        answers = {name: value[0] for name, value in zip(outputs, expected)}
        np.savez_compressed(made / REFERENCE_FILE, template=z, search=x, **answers)
        save_checkpoint(model, made / WEIGHTS_FILE)
        files = (TEMPLATE_FILE, SEARCH_FILE, REFERENCE_FILE, WEIGHTS_FILE)
        written = ModelCard(
            name=name or folder.name,
            template_size=config.template_size,
            search_size=config.search_size,
            grid=config.search_grid,
            sha256={f: hashlib.sha256((made / f).read_bytes()).hexdigest() for f in files},
            network=dataclasses.asdict(config),
            **(card or {}),
        )
        text = card_text(dataclasses.asdict(written))
        (made / CARD_FILE).write_text(text, encoding='utf-8')
        folder.mkdir(exist_ok=True)
        # The card comes last: until it matches the graphs, their hashes make loading fail.
        for file in (*files, CARD_FILE):
            shutil.move(made / file, folder / file)
    return differences


def _export(
    graph: nn.Module, args: tuple[Tensor, ...], inputs: list[str], outputs: list[str], path: Path
) -> None:
    write_graph(graph, args, inputs, outputs, path)
    # Remove the arithmetic of shapes and paddings.
    onnx.save(onnxslim.slim(str(path)), str(path))


def _crops(template_size: int, search_size: int) -> tuple[Tensor, Tensor]:
    """Return a template crop and a search crop of coarse noise; the template is its middle.

    Coarse noise excites the network as images do, and the search crop contains the target.
    """
    rng = np.random.default_rng(0)
    image = np.zeros((search_size, search_size, 3))
    for side, contrast in ((16, 90), (4, 30)):  # blocks of one colour compress well
        cells = -(-search_size // side)
        blocks = rng.uniform(-contrast, contrast, (cells, cells, 3)).repeat(side, 0).repeat(side, 1)
        image += blocks[:search_size, :search_size]
    search = (127 + image).clip(0, 255).astype(np.uint8)
    first = (search_size - template_size) // 2
    inside = slice(first, first + template_size)
    template = np.ascontiguousarray(search[inside, inside])
    return torch.from_numpy(template[None]), torch.from_numpy(search[None])


def _compare(
    folder: Path, crops: tuple[Tensor, Tensor], expected: dict[str, NDArray[np.float32]]
) -> dict[str, float]:
    providers = ['CPUExecutionProvider']
    template = onnxruntime.InferenceSession(str(folder / TEMPLATE_FILE), providers=providers)
    search = onnxruntime.InferenceSession(str(folder / SEARCH_FILE), providers=providers)
    names = [output.name for output in template.get_outputs()]
    features = dict(zip(names, template.run(None, {'crop': crops[0].numpy()})))
    found = search.run(list(expected), {'crop': crops[1].numpy(), **features})
    differences = {
        name: float(np.abs(value - reference).max())
        for (name, reference), value in zip(expected.items(), found)
    }
    for name, difference in differences.items():
        if not difference <= TOLERANCE:
            raise ExportError(
                f'the exported graph differs from the network by {difference:.2g} in {name}, '
                f'more than {TOLERANCE:g}'
            )
    return differences
