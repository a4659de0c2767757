# SPDX-License-Identifier: Apache-2.0
"""The numbers of runs as tables, for the page and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.metrics import LostMeasures, lost_measures
from hcat_ros.evaluation.report.scenes import Scene, headline
from hcat_ros.evaluation.scored_run import Run

LEAST_SECONDS = 1e-4
"""Median time of an update below which no real tracker is at work, so that no speed is shown, s."""
NO_VALUE = '–'  # noqa: RUF001 a dash, as is usual in tables


@dataclass(frozen=True)
class Column:
    """A column with a number for each row."""

    title: str
    values: tuple[float, ...]
    """Number of each row; NaN for a missing value."""
    form: str = '.3f'
    sign: int = 1
    """Order of the values; 1: the highest is the best, -1: the lowest is the best, 0: none is."""
    note: str = ''
    """Explanation of the column, in words."""
    bar: bool = False
    """Whether the values are shares that are shown as bars, too."""
    run: int = 0
    """Number of the run whose colour the bars have."""

    def text(self, row: int) -> str:
        """Return a row's number as the text that is shown."""
        value = self.values[row]
        return format(value, self.form) if math.isfinite(value) else NO_VALUE


@dataclass(frozen=True)
class ReportTable:
    """A table whose rows have names."""

    title: str
    """Title of the column of names."""
    names: tuple[str, ...]
    columns: tuple[Column, ...]
    best: tuple[tuple[bool, ...], ...]
    """Whether each value is marked as the best, (rows, columns)."""
    runs: tuple[int, ...] = ()
    """Number of each row's run, if rows are runs."""


def best_of(values: Sequence[float], texts: Sequence[str], sign: int) -> tuple[bool, ...]:
    """Return which of several numbers are the best as shown; none if all texts are equal."""
    known = [value for value in values if math.isfinite(value)]
    if not sign or len({text for text in texts if text != NO_VALUE}) < 2:
        return (False,) * len(values)
    top = texts[list(values).index(max(known) if sign > 0 else min(known))]
    return tuple(text == top for text in texts)


class Speed(NamedTuple):
    """How long updates took; milliseconds."""

    start: float
    """Median time of the starts, on the first frames."""
    median: float
    p95: float
    p99: float
    rate: float
    """Mean number of updates a second."""


def speed(run: Run) -> Speed:
    """Return a run's speed; NaN if it is not known."""
    seconds = update_seconds(run)
    if not len(seconds):
        return Speed(*[math.nan] * 5)
    starts = np.concatenate([result.seconds[:1] for result in run.results])
    starts = starts[np.isfinite(starts)]
    start = 1e3 * float(np.median(starts)) if len(starts) else math.nan
    median, p95, p99 = (1e3 * float(q) for q in np.percentile(seconds, [50, 95, 99]))
    return Speed(start, median, p95, p99, len(seconds) / float(seconds.sum()))


def update_seconds(run: Run) -> NDArray[np.float64]:
    """Return the known durations of a run's updates, (m,)."""
    parts = [np.empty(0), *(result.seconds[1:] for result in run.results)]
    seconds = np.concatenate(parts)
    seconds = seconds[np.isfinite(seconds)]
    if not len(seconds) or np.median(seconds) < LEAST_SECONDS:
        return np.empty(0)
    return np.asarray(seconds, np.float64)


def lost_of(run: Run) -> LostMeasures | None:
    """Return how well a run knows that it is lost; None if it never reports a lost target.

    First frames, and sequences without another frame that counts, are left out.
    """
    lost, overlap = [], []
    for result, score in zip(run.results, run.score.sequences):
        if np.isfinite(score.overlaps[1:]).any():
            lost.append(result.lost[1:])
            overlap.append(score.overlaps[1:])
    if not lost or not np.concatenate(lost).any():
        return None
    return lost_measures(np.concatenate(lost), np.concatenate(overlap))


def summary(runs: Sequence[Run]) -> ReportTable:
    """Return a table with a row per run: measures, real time, lost measures, speed."""
    columns = [
        Column(name, tuple(run.score.measures.get(name, math.nan) for run in runs))
        for name in dict.fromkeys(name for run in runs for name in run.score.measures)
    ]
    columns += _real_time(runs)
    losts = [lost_of(run) for run in runs]
    columns += [
        Column(
            'lost precision',
            tuple(math.nan if lost is None else lost.precision for lost in losts),
            note='share of the frames called lost in which the target is not in the box',
        ),
        Column(
            'lost recall',
            tuple(math.nan if lost is None else lost.recall for lost in losts),
            note='share of the frames without the target in the box that were called lost',
        ),
    ]
    speeds = [speed(run) for run in runs]
    columns += [
        Column('ms, median', tuple(s.median for s in speeds), '.1f', -1, 'time of an update'),
        Column('ms, 95 %', tuple(s.p95 for s in speeds), '.1f', -1, '95 % of updates are faster'),
        Column('updates/s', tuple(s.rate for s in speeds), '.1f', 1, 'without pauses in between'),
    ]
    counts = [len(run.clips) for run in runs]
    if len(set(counts)) > 1:
        columns.append(Column('sequences', tuple(map(float, counts)), '.0f', 0))
    columns = [column for column in columns if any(map(math.isfinite, column.values))]
    rows = range(len(runs))
    marks = [best_of(c.values, [c.text(row) for row in rows], c.sign) for c in columns]
    names = tuple(run.title for run in runs)
    best = tuple(tuple(mark[row] for mark in marks) for row in rows)
    return ReportTable('run', names, tuple(columns), best, tuple(rows))


def _real_time(runs: Sequence[Run]) -> list[Column]:
    measure = headline(runs)
    rates = sorted({run.real_time.fps for run in runs if run.real_time is not None})
    at = f'at {rates[0]:g} fps' if len(rates) == 1 else 'in real time'

    def column(field: str, title: str, form: str, sign: int, note: str) -> Column:
        found = (getattr(run.real_time, field, None) for run in runs)
        values = tuple(math.nan if value is None else float(value) for value in found)
        return Column(title, values, form, sign, note)

    offline = column('offline', f'{measure} offline', '.3f', 1, 'frames wait for the tracker')
    # An offline run already shows this measure.
    same = all(
        run.real_time is None
        or offline.text(row) == format(run.score.measures.get(measure, math.nan), '.3f')
        for row, run in enumerate(runs)
    )
    return [
        *([] if same else [offline]),
        column('real', f'{measure} {at}', '.3f', 1, 'frames do not wait for the tracker'),
        column('skipped', 'skipped', '.1%', -1, 'share of frames that came during an update'),
        column(
            'least_rate',
            'least updates/s',
            '.1f',
            -1,
            f'the smallest number of updates a second that keeps 95 % of the offline {measure}',
        ),
    ]


def sequence_table(scenes: Sequence[Scene], runs: Sequence[Run]) -> ReportTable:
    """Return a table with a row per scene, in this order: the headline measure of each run.

    A single run has a column for each of its measures instead.
    """
    frames = tuple(float(len(scene.leading.result.boxes)) for scene in scenes)
    columns = [Column('frames', frames, '.0f', 0)]
    if len(runs) == 1:
        columns += [
            Column(name, tuple(scene.values(name)[0] for scene in scenes), bar=True)
            for name in runs[0].score.measures
        ]
        marks = tuple((False,) * len(columns) for _ in scenes)
    else:
        measure = headline(runs)
        values = [scene.values(measure) for scene in scenes]
        columns += [
            Column(run.title, tuple(row[number] for row in values), bar=True, run=number)
            for number, run in enumerate(runs)
        ]
        marks = tuple(
            (False, *best_of(row, [column.text(number) for column in columns[1:]], 1))
            for number, row in enumerate(values)
        )
    return ReportTable('sequence', tuple(scene.name for scene in scenes), tuple(columns), marks)


def speed_table(runs: Sequence[Run]) -> ReportTable | None:
    """Return a table with a row for each run whose speed is known; None if none is known."""
    speeds = [speed(run) for run in runs]
    known = tuple(row for row, found in enumerate(speeds) if math.isfinite(found.median))
    if not known:
        return None
    titles = ('start, ms', 'median, ms', '95 %, ms', '99 %, ms', 'updates/s')
    forms = ('.1f', '.2f', '.2f', '.2f', '.1f')
    columns = tuple(
        Column(title, tuple(values), form, 0)
        for title, form, values in zip(titles, forms, zip(*(speeds[row] for row in known)))
    )
    marks = tuple((False,) * len(columns) for _ in known)
    return ReportTable('run', tuple(runs[row].title for row in known), columns, marks, known)
