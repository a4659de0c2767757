# SPDX-License-Identifier: Apache-2.0
"""A sequence in detail: its chart over time, its strip of frames, and what is to be said."""

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
    """What a run comes to in a sequence."""

    run: int
    title: str
    value: str
    lost: str
    """Share of frames that it calls lost; '' if it never does."""


class Shot(NamedTuple):
    """A picture of a strip, with what is to be said about it."""

    picture: StripPicture
    frame: int
    facts: str


class Card(NamedTuple):
    """What the page has for a sequence."""

    anchor: str
    name: str
    frames: int
    absent: int
    """Frames without a true box."""
    missed: str
    """When the first run misses the target, in words."""
    facts: list[Fact]
    chart: Chart
    shots: list[Shot]


def card(number: int, scene: Scene, runs: Sequence[Run], pictures: Sequence[StripPicture]) -> Card:
    """Return a card. number: one that no other has."""
    told = scene.told
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
        len(told.result.boxes),
        int(told.absent.sum()),
        _describe_misses(scene),
        facts,
        time_chart(scene, label),
        [Shot(each, told.first + each.moment.row, _about(scene, each)) for each in pictures],
    )


def _about(scene: Scene, picture: StripPicture) -> str:
    """Return what the first run has to show at a picture's frame."""
    told, index = scene.told, picture.moment.row
    overlap, score = float(told.score.overlaps[index]), float(told.result.scores[index])
    words = []
    if index == 0:
        words.append('box given')
    elif told.absent[index]:
        words.append('no true box')
    elif math.isfinite(overlap):
        words.append(f'IoU {overlap:.2f}')
    if index and math.isfinite(score):
        words.append(f'score {score:.2f}')
    if told.result.lost[index]:
        words.append('said lost')
    if picture.zoom > 1:
        words.append(f'zoom {picture.zoom:.1f}')
    return ', '.join(words)


def _describe_misses(scene: Scene, most: int = 3) -> str:
    """Return when the first run misses the target and hits it again."""
    told = scene.told
    found = failures(told.score.overlaps)
    parts = [
        f'{told.first + failure}'
        + (' (not found again)' if again is None else f' (found again at {told.first + again})')
        for failure, again in found[:most]
    ]
    if len(found) > most:
        parts.append(f'and {len(found) - most} times more')
    return f'missed at frame {", ".join(parts)}' if parts else ''
