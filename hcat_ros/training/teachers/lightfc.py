# SPDX-License-Identifier: Apache-2.0
"""LightFC as a teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcat_ros.network.backbones.base import IMAGENET_MEAN, IMAGENET_STD
from hcat_ros.training.teachers.base import (
    GRID,
    SEARCH_SIZE,
    TEMPLATE_SIZE,
    Floats,
    OnnxTeacher,
    Sight,
)

_MAPS = ('score_map', 'size_map', 'offset_map')
_TRUNK = '/backbone/'


class LightFC(OnnxTeacher):
    """LightFC (Li et al., 2023), whose crop sizes, factors and grid are exactly HCAT's.

    Its search graph is cut after the backbone, so that a search region passes the backbone only
    once when it is searched for several templates.
    """

    def features(self, crops: NDArray[np.uint8]) -> Floats:
        """Return the features (V, 96, g, g) of RGB crops (V, side, side, 3)."""
        of_template, of_search, _ = self.get()
        session = of_template if crops.shape[1] == TEMPLATE_SIZE else of_search
        mean, std = np.asarray(IMAGENET_MEAN, np.float32), np.asarray(IMAGENET_STD, np.float32)
        images = ((crops - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
        name = session.get_inputs()[0].name
        return np.concatenate([session.run(None, {name: image[None]})[0] for image in images])

    def look(self, template: Floats, search: Floats) -> Sight:
        """Find the target in a search region, given the features of both.

        template: (96, 8, 8). search: (96, 16, 16). LightFC predicts a correct box only at the cell
        of the target's middle, so each cell takes the box of its best-scoring neighbour.
        """
        head = self.get()[2]
        names = [entry.name for entry in head.get_inputs()]
        found = head.run(list(_MAPS), {names[0]: template[None], names[1]: search[None]})
        score, size, offset = (values[0] for values in found)
        cells = np.arange(GRID, dtype=np.float32)
        x, y = (cells[None, :] + offset[0]) / GRID, (cells[:, None] + offset[1]) / GRID
        boxes = np.stack((x, y, size[0], size[1]), axis=2)
        return Sight(score[0], _of_best_neighbour(score[0], boxes))

    def _graphs(self) -> list[tuple[str, Any]]:
        from onnx.utils import Extractor

        model = self._read(self.config.head)
        if {entry.name for entry in model.graph.output} != set(_MAPS):
            raise ValueError(f'teacher: {self.config.head} is not a LightFC tracking graph')
        template, search = (entry.name for entry in model.graph.input)
        makers = {name: node.name for node in model.graph.node for name in node.output}
        inner = {
            name
            for node in model.graph.node
            for name in node.input
            if not node.name.startswith(_TRUNK) and makers.get(name, '').startswith(_TRUNK)
        }
        if len(inner) != 1:
            raise ValueError(f'teacher: {self.config.head} does not contain a LightFC backbone')
        (cut,) = inner
        extractor = Extractor(model)
        return [
            (self.config.backbone, self._read(self.config.backbone)),
            (self.config.head, extractor.extract_model([search], [cut])),
            (self.config.head, extractor.extract_model([template, cut], list(_MAPS))),
        ]

    def _check(self, *sessions: Any) -> None:
        """Raise ValueError for graphs that do not belong to one LightFC."""
        shapes = [list(session.get_inputs()[0].shape) for session in sessions]
        crops = [[1, 3, side, side] for side in (TEMPLATE_SIZE, SEARCH_SIZE)]
        if shapes[:2] != crops or list(sessions[0].get_outputs()[0].shape) != shapes[2]:
            raise ValueError(
                f'teacher: {self.config.backbone} and {self.config.head} are not the two files of '
                'one LightFC'
            )


def _of_best_neighbour(scores: Floats, boxes: Floats) -> Floats:
    """Return for each cell the box of the best-scoring cell among it and its eight neighbours."""
    rows, columns = np.indices(scores.shape)
    wide = np.pad(scores, 1, constant_values=-1.0)
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    around = [wide[1 + dy : 1 + dy + GRID, 1 + dx : 1 + dx + GRID] for dy, dx in shifts]
    dy, dx = np.asarray(shifts)[np.argmax(around, axis=0)].transpose(2, 0, 1)
    return boxes[rows + dy, columns + dx].astype(np.float32)
