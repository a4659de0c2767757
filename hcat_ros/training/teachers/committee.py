# SPDX-License-Identifier: Apache-2.0
"""Combines teachers: the mean of their score maps and of their boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hcat_ros.engines.base import EngineCard, Prediction
from hcat_ros.training.teachers.base import GRID, SEARCH_SIZE, TEMPLATE_SIZE, Floats, Sight, Teacher


class Lesson(NamedTuple):
    """The committee's answers for each template of V views in each other view's search region."""

    scores: Tensor
    """Probability of view i's template in each cell of view j's search region, float
    (V, V, GRID * GRID); NaN for i = j, unless V is 1."""
    boxes: Tensor
    """Box of the best cell, float (V, V, 4) as cx cy w h in 0..1 of the search region; NaN
    likewise."""


class Committee:
    """Averages the score maps of all teachers, and the boxes of the teachers whose boxes count.

    It is also an engine (`engines.base.Engine`), so the tracker can run it like a model.
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.teachers = list(teachers)
        if not any(teacher.config.boxes for teacher in self.teachers):
            raise ValueError('teachers: expected at least one whose boxes count')
        sizes = (TEMPLATE_SIZE, SEARCH_SIZE, GRID)
        self.card = EngineCard('committee', 'onnxruntime', '', 'as filed', *sizes)

    def features(self, crops: NDArray[np.uint8]) -> list[Floats]:
        """Return each teacher's features of RGB crops (V, side, side, 3)."""
        return [teacher.features(crops) for teacher in self.teachers]

    def look(self, template: Sequence[Floats], search: Sequence[Floats]) -> Sight:
        """Return the mean scores and boxes.

        template, search: each teacher's features of one template and of one search region.
        """
        sights = [teacher.look(z, x) for teacher, z, x in zip(self.teachers, template, search)]
        boxes = [
            sight.boxes for teacher, sight in zip(self.teachers, sights) if teacher.config.boxes
        ]
        return Sight(np.mean([sight.scores for sight in sights], axis=0), np.mean(boxes, axis=0))

    def teach(self, templates: NDArray[np.uint8], searches: NDArray[np.uint8]) -> Lesson:
        """Return the lesson for templates (V, 128, 128, 3) and searches (V, 256, 256, 3)."""
        views = len(templates)
        scores = np.full((views, views, GRID * GRID), np.nan, np.float32)
        boxes = np.full((views, views, 4), np.nan, np.float32)
        z, x = self.features(templates), self.features(searches)
        for i in range(views):
            for j in range(views):
                if i != j or views == 1:
                    sight = self.look([part[i] for part in z], [part[j] for part in x])
                    scores[i, j] = sight.scores.ravel()
                    boxes[i, j] = sight.boxes.reshape(-1, 4)[np.argmax(sight.scores)]
        return Lesson(torch.from_numpy(scores), torch.from_numpy(boxes))

    def template(self, crop: NDArray[np.uint8]) -> list[Floats]:
        """Return the features of a template crop (128, 128, 3)."""
        return [part[0] for part in self.features(crop[None])]

    def search(self, crop: NDArray[np.uint8], features: list[Floats]) -> Prediction:
        """Find the template in a search crop (256, 256, 3)."""
        sight = self.look(features, [part[0] for part in self.features(crop[None])])
        return Prediction(sight.scores, sight.boxes.reshape(-1, 4))
