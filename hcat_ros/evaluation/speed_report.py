# SPDX-License-Identifier: Apache-2.0
"""Measured speeds as a Markdown table, as JSON and as a chart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.speed import STAGES, Quantiles
from hcat_ros.markdown import markdown_table

NO_VALUE = '-'


@dataclass(frozen=True)
class SpeedRow:
    """One model in one runtime."""

    model: str
    engine: str
    """The runtime and its version."""
    precision: str
    reference: bool
    """Whether it is the authors' form of the graph."""
    stages: dict[str, Quantiles]
    """Times of 'crop', 'search', 'decode' and 'update', which is all of them; ms."""
    multiply_adds: int | None
    """Multiply-adds of the search stage, if the network's weights were there to count on."""

    @property
    def label(self) -> str:
        """What runs in what."""
        form = 'reference graph, ' if self.reference else ''
        return f'{form}{self.engine} {self.precision}'


@dataclass(frozen=True)
class SpeedTable:
    """Rows that were measured in turn, with the same threads; the first one is the baseline."""

    threads: int
    """0: as many as each runtime takes by itself."""
    processors: list[int]
    """To which the process was pinned; empty: to none."""
    peak_gflops: float
    """Speed of a large float32 matrix product with these threads, 1e9 operations a second."""
    rested: bool
    """Whether the process came to rest before each block, see `speed.Times`."""
    rows: list[SpeedRow]

    @property
    def title(self) -> str:
        """The threads in words."""
        if not self.threads:
            return "each runtime's own number of threads"
        where = f' on CPU {", ".join(map(str, self.processors))}' if self.processors else ''
        return f'{self.threads} thread{"s" if self.threads > 1 else ""}{where}'

    def ratio(self, row: SpeedRow, stage: str) -> float:
        """Return how many times as fast as the baseline a stage is, by medians."""
        return self.rows[0].stages[stage].median / row.stages[stage].median

    def same_weights_ratio(self, row: SpeedRow) -> float | None:
        """Return the ratio of the search stage to the reference graph of the row's own model."""
        for other in self.rows:
            if other.reference and other.model == row.model:
                return other.stages['search'].median / row.stages['search'].median
        return None

    def share_of_peak(self, row: SpeedRow) -> float | None:
        """Return the search stage's operations a second, 2 a multiply-add, over the peak."""
        if row.multiply_adds is None:
            return None
        gflops = 2 * row.multiply_adds / row.stages['search'].median / 1e6
        return gflops / self.peak_gflops


def table(group: SpeedTable) -> str:
    """Return a group as Markdown: times in ms, 'median (95 %, 99 %)'."""
    stages = ('search', 'crop', 'decode', 'update')
    # The column says nothing new where the baseline is the reference of the only model.
    own = any(
        group.same_weights_ratio(row) not in (None, *_search(group, row)) for row in group.rows
    )
    titles = ['model', 'engine', *stages, 'search, ratio', 'update, ratio']
    titles += ['search, ratio, same weights'] * own + ['GMAC', 'of the peak']
    rows = []
    for row in group.rows:
        cells = [row.model, row.label]
        cells += ['{:.2f} ({:.2f}, {:.2f})'.format(*row.stages[stage]) for stage in stages]
        cells += [f'{group.ratio(row, stage):.2f}' for stage in ('search', 'update')]
        cells += [_number(group.same_weights_ratio(row), '{:.2f}')] * own
        giga = None if row.multiply_adds is None else row.multiply_adds / 1e9
        cells += [_number(giga, '{:.2f}'), _number(group.share_of_peak(row), '{:.0%}')]
        rows.append(cells)
    return markdown_table(titles, rows, 'll')


def _search(group: SpeedTable, row: SpeedRow) -> tuple[float]:
    return (group.ratio(row, 'search'),)


def _number(value: float | None, form: str) -> str:
    return NO_VALUE if value is None else form.format(value)


def document(group: SpeedTable) -> dict[str, Any]:
    """Return a group with all that is computed from it, ready for JSON."""
    rows = []
    for row in group.rows:
        content = asdict(row)
        content['stages'] = {name: times._asdict() for name, times in row.stages.items()}
        content['ratio'] = {name: group.ratio(row, name) for name in (*STAGES, 'update')}
        content['same_weights_ratio'] = group.same_weights_ratio(row)
        content['share_of_peak'] = group.share_of_peak(row)
        rows.append(content)
    return {**asdict(group), 'rows': rows}


def chart(groups: Sequence[SpeedTable]) -> NDArray[np.uint8]:
    """Return a picture of the search stage's medians, a bar a row, BGR.

    Ratios to each group's baseline stand on the bars; reference graphs are grey.
    """
    names, bars, right, line, gap = 460, 420, 150, 28, 44
    height = 50 + sum(gap + line * len(group.rows) for group in groups) + 20
    picture = np.full((height, names + bars + right, 3), 255, np.uint8)
    longest = max(row.stages['search'].median for group in groups for row in group.rows)
    models = list(dict.fromkeys(row.model for group in groups for row in group.rows))
    colours = dict(
        zip(models, itertools.cycle(((200, 120, 40), (60, 150, 60), (60, 90, 210), (160, 70, 150))))
    )

    def write(text: str, x: int, y: int, size: float, colour: int = 30) -> None:
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(picture, text, (x, y), font, size, (colour,) * 3, 1, cv2.LINE_AA)

    write('Search stage, median of a frame (how many times as fast as the first)', 12, 28, 0.6)
    y = 50
    for group in groups:
        y += gap
        write(f'{group.title}, peak {group.peak_gflops:.0f} GFLOP/s', 12, y - 10, 0.5)
        for row in group.rows:
            median = row.stages['search'].median
            end = names + max(2, round(median / longest * bars))
            colour = (165, 165, 165) if row.reference else colours[row.model]
            write(row.model, 12, y + 19, 0.45)
            write(row.label, 170, y + 19, 0.42, 90)
            cv2.rectangle(picture, (names, y + 3), (end, y + line - 5), colour, cv2.FILLED)
            ratio = f'{median:.1f} ms   {group.ratio(row, "search"):.2f}x'
            write(ratio, end + 8, y + 19, 0.45)
            y += line
    return picture
