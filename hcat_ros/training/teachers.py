# SPDX-License-Identifier: Apache-2.0
"""Stronger trackers that a network learns from beside the truth (distillation)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GRID = 16
"""Cells along a side of the student's score map: a search region of 256 px at stride 16."""
TEMPLATE_SIZE, SEARCH_SIZE = 127, 255
"""Sides of NanoTrack's crops, pixels; they show what HCAT's 128 and 256 px show."""


class Lesson(NamedTuple):
    """What the teachers say of a group of V views."""

    scores: Tensor
    """float32 (V, V, GRID * GRID): probability of view i's template in the cells of view j's
    search region, the mean of the teachers; NaN where none was asked or knows the cell."""
    features: Tensor
    """float32 (V, K, GRID, GRID): features of the search regions, all teachers' channels."""


@dataclass(frozen=True)
class TeacherConfig:
    """The files of a NanoTrack (Apache-2.0, github.com/HonglinChu/SiamTrackers), v1 to v3."""

    backbone: str
    """ONNX: image (1, 3, 255, 255), RGB 0..255, to features (1, K, 16, 16)."""
    head: str
    """ONNX: features of template (1, K, 8, 8) and search region to scores (1, 2, g, g)."""


class NanoTrack:
    """A NanoTrack that sees the crops of HCAT, which cover the same part of the frame.

    Its sessions are made at first use in each process, since they do not survive a fork.
    Raises ValueError for files that are missing or not NanoTrack's.
    """

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        for path in (config.backbone, config.head):
            if not Path(path).is_file():
                raise ValueError(f'teacher: no file {path}')
        self._sessions: tuple[int, Any, Any] = (-1, None, None)

    @property
    def channels(self) -> int:
        """K, of its features."""
        return int(self._loaded()[1].get_outputs()[0].shape[1])

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features (V, K, g, g) of RGB crops (V, side, side, 3).

        The last row and column of the crops are left out: 128 and 256 px become 127 and 255.
        """
        _, backbone, _ = self._loaded()
        images = crops[:, :-1, :-1].transpose(0, 3, 1, 2).astype(np.float32)
        name = backbone.get_inputs()[0].name
        # One at a time: the graph's operators may hold a batch of 1.
        return np.concatenate([backbone.run(None, {name: image[None]})[0] for image in images])

    def scores(
        self, template: NDArray[np.float32], search: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the target's probability (GRID, GRID), NaN where this one does not look.

        template (K, 8, 8), search (K, 16, 16). The point of NanoTrack's middle cell is the middle
        of the crop; its map of 15 cells therefore begins at the second of ours.
        """
        _, _, head = self._loaded()
        names = [entry.name for entry in head.get_inputs()]
        logits = head.run(None, {names[0]: template[None], names[1]: search[None]})[0][0]
        probability = 1 / (1 + np.exp(logits[0] - logits[1]))
        grid = probability.shape[0]
        first = GRID // 2 - grid // 2
        result = np.full((GRID, GRID), np.nan, np.float32)
        result[first : first + grid, first : first + grid] = probability
        return result

    def _loaded(self) -> tuple[int, Any, Any]:
        if self._sessions[0] != os.getpid():
            import onnx
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            made = []
            for path in (self.config.backbone, self.config.head):
                try:
                    model = onnx.load(path)
                    if path == self.config.backbone:
                        _free_sizes(model)
                    made.append(
                        onnxruntime.InferenceSession(
                            model.SerializeToString(), options, ['CPUExecutionProvider']
                        )
                    )
                except Exception as error:  # the runtimes raise many kinds
                    raise ValueError(f'teacher: cannot load {path}: {error}') from error
            self._check(*made)
            self._sessions = (os.getpid(), *made)
        return self._sessions

    def _check(self, backbone: Any, head: Any) -> None:
        """Raise ValueError for graphs that are not the two of one NanoTrack."""
        features = backbone.get_outputs()[0].shape[1:2]
        if [entry.shape[1:2] for entry in backbone.get_inputs()] != [[3]]:
            raise ValueError(f'teacher: {self.config.backbone} is no NanoTrack backbone')
        ends = (*head.get_inputs(), head.get_outputs()[0])
        if [entry.shape[1:2] for entry in ends] != [features, features, [2]]:
            raise ValueError(
                f'teacher: {self.config.head} is not the NanoTrack head of '
                f'{self.config.backbone}: take both files from one version'
            )


def _free_sizes(model: Any) -> None:
    """Let a fully convolutional graph take images of any size."""
    del model.graph.value_info[:]
    for entry in (*model.graph.input, *model.graph.output):
        for axis, size in enumerate(entry.type.tensor_type.shape.dim):
            if axis != 1:
                size.dim_param = f'{entry.name}_{axis}'


def lesson(
    teachers: list[NanoTrack], templates: NDArray[np.uint8], searches: NDArray[np.uint8]
) -> Lesson:
    """Return what the teachers say of templates (V, 128, 128, 3) and searches (V, 256, 256, 3)."""
    views = len(templates)
    scores = np.full((len(teachers), views, views, GRID, GRID), np.nan, np.float32)
    features = []
    for number, teacher in enumerate(teachers):
        z, x = teacher.features(templates), teacher.features(searches)
        features.append(x)
        for i in range(views):
            for j in range(views):
                if i != j or views == 1:
                    scores[number, i, j] = teacher.scores(z[i], x[j])
    known = np.isfinite(scores)
    count = known.sum(axis=0)
    mean = np.where(known, scores, 0).sum(axis=0) / np.maximum(count, 1)
    mean[count == 0] = np.nan
    return Lesson(
        torch.from_numpy(mean.reshape(views, views, -1).astype(np.float32)),
        torch.from_numpy(np.concatenate(features, axis=1)),
    )
