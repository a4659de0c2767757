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
    """What one run has for a sequence."""

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
        """(n, 4), x y w h, a row for each of the result's; NaN without a target."""
        return absent_where_empty(np.asarray(self.clip.boxes[self.first :], np.float64))

    @property
    def absent(self) -> NDArray[np.bool_]:
        """(n,), frames without a true box."""
        return np.asarray(~np.isfinite(self.truth).all(axis=1))


@dataclass(frozen=True)
class Scene:
    """A sequence, with what each run has for it."""

    name: str
    answers: tuple[Answer | None, ...]
    """One a run; None where the run lacks the sequence."""

    @property
    def told(self) -> Answer:
        """The answer of the first run that has the sequence: its truth and images serve for all."""
        return next(answer for answer in self.answers if answer is not None)

    def values(self, measure: str) -> tuple[float, ...]:
        """Return a measure of each run, NaN where there is none."""
        return tuple(
            math.nan if answer is None else answer.score.measures.get(measure, math.nan)
            for answer in self.answers
        )


def headline(runs: Sequence[Run]) -> str:
    """Return the name of the measure that counts most: the first one of the first run."""
    return next(iter(runs[0].score.measures), 'AO')


def scenes_of(runs: Sequence[Run]) -> list[Scene]:
    """Return all sequences, the worst of the first run by its headline measure first.

    Raises ValueError for a run whose clips, results and scores are not as many.
    """
    answers: dict[tuple[str, int], list[Answer | None]] = {}
    for number, run in enumerate(runs):
        counts = (len(run.clips), len(run.results), len(run.score.sequences))
        if len(set(counts)) != 1:
            raise ValueError(
                f"run '{run.title}': {counts[0]} clips, {counts[1]} results and {counts[2]} "
                'scores; expected one each a sequence'
            )
        seen: dict[str, int] = {}
        for answer in map(Answer, run.clips, run.results, run.score.sequences):
            # A second sequence of the same name is another one.
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
