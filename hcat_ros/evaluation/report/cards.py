# SPDX-License-Identifier: Apache-2.0
"""A sequence in detail: its measures, its chart over time and its strip of frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from hcat_ros.evaluation.report.charts import Chart, time_chart
from hcat_ros.evaluation.report.scenes import Scene, headline
from hcat_ros.evaluation.report.strips import StripPicture, failures
from hcat_ros.evaluation.report.tables import NO_VALUE
from hcat_ros.evaluation.scored_run import Run


class Fact(NamedTuple):
    """A run's headline measure in a sequence."""

    run: int
    title: str
    value: str
    lost: str
    """Share of frames that the run calls lost; '' if it calls none lost."""


class Shot(NamedTuple):
    """A picture of a strip, with its caption."""

    picture: StripPicture
    frame: int
    facts: str
    """Facts about the first run at this frame, in words."""


class Card(NamedTuple):
    """The content of the page for a sequence."""

    anchor: str
    name: str
    frames: int
    absent: int
    """Number of frames without a true box."""
    missed: str
    """Frames at which the first run misses the target, in words."""
    facts: list[Fact]
    chart: Chart
    shots: list[Shot]


def card(number: int, scene: Scene, runs: Sequence[Run], pictures: Sequence[StripPicture]) -> Card:
    """Return a card. number: a unique number, for its anchor."""
    leading = scene.leading
    measure = headline(runs)
    facts = []
    for run, (answer, value) in enumerate(zip(scene.answers, scene.values(measure))):
        if answer is not None:
            text = NO_VALUE if math.isnan(value) else f'{value:.3f}'
            lost = f'{answer.result.lost.mean():.0%}' if answer.result.lost.any() else ''
            facts.append(Fact(run, runs[run].title, text, lost))
    numbers = ', '.join(f'{fact.title} {measure} {fact.value}' for fact in facts)
    label = f'IoU and score over the frames of {scene.name}: {numbers}'
    return Card(
        f's{number}',
        scene.name,
        len(leading.result.boxes),
        int(leading.absent.sum()),
        _describe_misses(scene),
        facts,
        time_chart(scene, label),
        [Shot(each, leading.first + each.moment.row, _caption(scene, each)) for each in pictures],
    )


def _caption(scene: Scene, picture: StripPicture) -> str:
    """Return the facts about the first run at a picture's frame, in words."""
    leading, index = scene.leading, picture.moment.row
    overlap, score = float(leading.score.overlaps[index]), float(leading.result.scores[index])
    words = []
    if index == 0:
        words.append('box given')
    elif leading.absent[index]:
        words.append('no true box')
    elif math.isfinite(overlap):
        words.append(f'IoU {overlap:.2f}')
    if index and math.isfinite(score):
        words.append(f'score {score:.2f}')
    if leading.result.lost[index]:
        words.append('said lost')
    if picture.zoom > 1:
        words.append(f'zoom {picture.zoom:.1f}')
    return ', '.join(words)


def _describe_misses(scene: Scene, most: int = 3) -> str:
    """Return the frames at which the first run misses the target and finds it again, in words."""
    leading = scene.leading
    found = failures(leading.score.overlaps)
    parts = [
        f'{leading.first + failure}'
        + (' (not found again)' if again is None else f' (found again at {leading.first + again})')
        for failure, again in found[:most]
    ]
    if len(found) > most:
        parts.append(f'and {len(found) - most} more times')
    return f'missed at frame {", ".join(parts)}' if parts else ''
