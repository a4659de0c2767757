# SPDX-License-Identifier: Apache-2.0
"""The sequences of several runs, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.annotation_files import absent_where_empty
from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.protocols import SequenceScore
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.scored_run import Run


class Answer(NamedTuple):
    """A run's result and score for a sequence."""

    clip: Clip
    result: SequenceResult
    score: SequenceScore

    @property
    def first(self) -> int:
        """Index of the image that row 0 of the result belongs to."""
        visible = self.clip.visible
        return int(visible[0]) if len(visible) else 0

    @property
    def truth(self) -> NDArray[np.float64]:
        """True boxes of the result's frames, (n, 4) as x y w h; NaN without a target."""
        return absent_where_empty(np.asarray(self.clip.boxes[self.first :], np.float64))

    @property
    def absent(self) -> NDArray[np.bool_]:
        """Whether each frame has no true box, (n,)."""
        return np.asarray(~np.isfinite(self.truth).all(axis=1))


@dataclass(frozen=True)
class Scene:
    """A sequence, with the answer of each run."""

    name: str
    answers: tuple[Answer | None, ...]
    """Answer of each run; None if the run lacks the sequence."""

    @property
    def leading(self) -> Answer:
        """Answer of the first run that has the sequence; its truth and images are used for all."""
        return next(answer for answer in self.answers if answer is not None)

    def values(self, measure: str) -> tuple[float, ...]:
        """Return a measure of each run; NaN for a run without it."""
        return tuple(
            math.nan if answer is None else answer.score.measures.get(measure, math.nan)
            for answer in self.answers
        )


def headline(runs: Sequence[Run]) -> str:
    """Return the name of the measure that counts most: the first one of the first run."""
    return next(iter(runs[0].score.measures), 'AO')


def scenes_of(runs: Sequence[Run]) -> list[Scene]:
    """Return all sequences, ordered by the first run's headline measure, the worst first.

    Raises ValueError for a run with different numbers of clips, results and scores.
    """
    answers: dict[tuple[str, int], list[Answer | None]] = {}
    for number, run in enumerate(runs):
        counts = (len(run.clips), len(run.results), len(run.score.sequences))
        if len(set(counts)) != 1:
            raise ValueError(
                f"run '{run.title}': {counts[0]} clips, {counts[1]} results and {counts[2]} "
                'scores; expected one of each per sequence'
            )
        seen: dict[str, int] = {}
        for answer in map(Answer, run.clips, run.results, run.score.sequences):
            # A second sequence of the same name is a different sequence.
            key = (answer.clip.name, seen.setdefault(answer.clip.name, 0))
            seen[answer.clip.name] += 1
            answers.setdefault(key, [None] * len(runs))[number] = answer
    scenes = [Scene(name, tuple(found)) for (name, _), found in answers.items()]
    measure = headline(runs)

    def badness(scene: Scene) -> tuple[bool, float]:
        value = scene.values(measure)[0]
        return math.isnan(value), value

    return sorted(scenes, key=badness)


def spans(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the [first, end) of each stretch of True in a mask (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]
