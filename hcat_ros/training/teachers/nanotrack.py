# SPDX-License-Identifier: Apache-2.0
"""NanoTrack as a teacher."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcat_ros.training.teachers.base import GRID, SEARCH_SIZE, Floats, OnnxTeacher, Sight


class NanoTrack(OnnxTeacher):
    """NanoTrack, which predicts at points, 16 pixels apart, on the corners of our cells."""

    def features(self, crops: NDArray[np.uint8]) -> Floats:
        """Return the features (V, K, g, g) of RGB crops (V, side, side, 3).

        The last row and column of the crops are left out, because NanoTrack takes 127 and 255 px.
        """
        backbone = self.get()[0]
        images = crops[:, :-1, :-1].transpose(0, 3, 1, 2).astype(np.float32)
        name = backbone.get_inputs()[0].name
        # One image at a time, because the graph may have a fixed batch of 1.
        return np.concatenate([backbone.run(None, {name: image[None]})[0] for image in images])

    def look(self, template: Floats, search: Floats) -> Sight:
        """Find the target in a search region, given the features of both.

        template: (K, 8, 8). search: (K, 16, 16). Point (j, i) lies at pixel (16 j, 16 i). A cell
        gets the mean score of the points at its four corners and the box of the best of these
        points. If a side has only 15 points, the first lies at pixel 16.
        """
        head = self.get()[1]
        names = [entry.name for entry in head.get_inputs()]
        logits, sides = head.run(None, {names[0]: template[None], names[1]: search[None]})[:2]
        probability = 1 / (1 + np.exp(logits[0, 0] - logits[0, 1]))
        points = probability.shape[0]
        place = np.arange(GRID - points, GRID) * float(SEARCH_SIZE // GRID)
        x, y = place[None, :], place[:, None]
        left, top, right, bottom = sides[0]
        boxes = np.stack(
            (x + (right - left) / 2, y + (bottom - top) / 2, left + right, top + bottom), axis=2
        )
        corners = [_corner(probability, dy, dx) for dy in (0, 1) for dx in (0, 1)]
        of_corners = [_corner(boxes / SEARCH_SIZE, dy, dx) for dy in (0, 1) for dx in (0, 1)]
        best = np.argmax(corners, axis=0)
        chosen = np.take_along_axis(np.stack(of_corners), best[None, ..., None], axis=0)[0]
        return Sight(np.mean(corners, axis=0), chosen.astype(np.float32))

    def _graphs(self) -> list[tuple[str, Any]]:
        backbone = self._read(self.config.backbone)
        _free_sizes(backbone)
        return [(self.config.backbone, backbone), (self.config.head, self._read(self.config.head))]

    def _check(self, *sessions: Any) -> None:
        """Raise ValueError for graphs that do not belong to one NanoTrack."""
        backbone, head = sessions
        features = backbone.get_outputs()[0].shape[1:2]
        if [entry.shape[1:2] for entry in backbone.get_inputs()] != [[3]]:
            raise ValueError(f'teacher: {self.config.backbone} is not a NanoTrack backbone')
        ends = (*head.get_inputs(), *head.get_outputs()[:2])
        if [entry.shape[1:2] for entry in ends] != [features, features, [2], [4]]:
            raise ValueError(
                f'teacher: {self.config.head} is not the NanoTrack head of '
                f'{self.config.backbone}: take both files from one version'
            )


def _corner(points: NDArray[Any], dy: int, dx: int) -> Floats:
    """Return for each of our cells the value of the point at one of its corners.

    points: (g, g, ...), 16 px apart, the last at 15 x 16 px. A corner beyond the outer points takes
    the value of the nearest point. dy, dx: 0 for the top or left corner, 1 for the bottom or right.
    """
    last = points.shape[0] - 1
    shift = GRID - points.shape[0]
    rows = np.clip(np.arange(GRID) + dy - shift, 0, last)
    columns = np.clip(np.arange(GRID) + dx - shift, 0, last)
    return np.asarray(points[rows][:, columns], np.float32)


def _free_sizes(model: Any) -> None:
    """Let a fully convolutional graph take images of any size."""
    del model.graph.value_info[:]
    for entry in (*model.graph.input, *model.graph.output):
        for axis, size in enumerate(entry.type.tensor_type.shape.dim):
            if axis != 1:
                size.dim_param = f'{entry.name}_{axis}'
