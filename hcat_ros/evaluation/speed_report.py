# SPDX-License-Identifier: Apache-2.0
"""Measured speeds as a Markdown table, as JSON and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hcat_ros.evaluation.speed import STAGES, Quantiles
from hcat_ros.markdown import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_VALUE = '-'


@dataclass(frozen=True)
class SpeedRow:
    """The speed of one model in one runtime."""

    model: str
    engine: str
    """The runtime and its version."""
    precision: str
    reference: bool
    """Whether the graph is in the authors' form."""
    stages: dict[str, Quantiles]
    """Times of 'crop', 'search', 'decode' and 'update', which is their sum; ms."""
    multiply_adds: int | None
    """Multiply-adds of the search stage; None: not counted, for lack of the network's weights."""

    @property
    def label(self) -> str:
        """Form of the graph, runtime and precision, in words."""
        form = 'reference graph, ' if self.reference else ''
        return f'{form}{self.engine} {self.precision}'


@dataclass(frozen=True)
class SpeedTable:
    """Rows that were measured in turns with the same threads; the first row is the baseline."""

    threads: int
    """Number of threads; 0: each runtime's own choice."""
    processors: list[int]
    """Processors to which the process was pinned; empty: it was not pinned."""
    peak_gflops: float
    """Speed of a large float32 matrix product with these threads, 1e9 operations a second."""
    rested: bool
    """Whether the process came to rest before every turn, see `speed.Times`."""
    rows: list[SpeedRow]

    @property
    def title(self) -> str:
        """Number of threads and the processors, in words."""
        if not self.threads:
            return "each runtime's own number of threads"
        where = f' on CPU {", ".join(map(str, self.processors))}' if self.processors else ''
        return f'{self.threads} thread{"s" if self.threads > 1 else ""}{where}'

    def ratio(self, row: SpeedRow, stage: str) -> float:
        """Return the speed of a stage relative to the baseline, by medians."""
        return self.rows[0].stages[stage].median / row.stages[stage].median

    def same_weights_ratio(self, row: SpeedRow) -> float | None:
        """Return the speed of the search stage relative to the same model's reference graph."""
        for other in self.rows:
            if other.reference and other.model == row.model:
                return other.stages['search'].median / row.stages['search'].median
        return None

    def share_of_peak(self, row: SpeedRow) -> float | None:
        """Return the search stage's speed over the peak; a multiply-add is 2 operations."""
        if row.multiply_adds is None:
            return None
        gflops = 2 * row.multiply_adds / row.stages['search'].median / 1e6
        return gflops / self.peak_gflops


def table(group: SpeedTable) -> str:
    """Return a group as a Markdown table, with times in ms as 'median (95 %, 99 %)'."""
    stages = ('search', 'crop', 'decode', 'update')
    # The column is left out if it equals the ratio to the baseline in every row.
    has_own_ratio = any(
        group.same_weights_ratio(row) not in (None, *_search(group, row)) for row in group.rows
    )
    titles = ['model', 'engine', *stages, 'search, ratio', 'update, ratio']
    titles += ['search, ratio, same weights'] * has_own_ratio + ['GMAC', 'of the peak']
    rows = []
    for row in group.rows:
        cells = [row.model, row.label]
        cells += ['{:.2f} ({:.2f}, {:.2f})'.format(*row.stages[stage]) for stage in stages]
        cells += [f'{group.ratio(row, stage):.2f}' for stage in ('search', 'update')]
        cells += [_number(group.same_weights_ratio(row), '{:.2f}')] * has_own_ratio
        giga = None if row.multiply_adds is None else row.multiply_adds / 1e9
        cells += [_number(giga, '{:.2f}'), _number(group.share_of_peak(row), '{:.0%}')]
        rows.append(cells)
    return markdown_table(titles, rows, 'll')


def _search(group: SpeedTable, row: SpeedRow) -> tuple[float]:
    return (group.ratio(row, 'search'),)


def _number(value: float | None, form: str) -> str:
    return NO_VALUE if value is None else form.format(value)


def document(group: SpeedTable) -> dict[str, Any]:
    """Return a group and all values that are computed from it, ready for JSON."""
    rows = []
    for row in group.rows:
        content = asdict(row)
        content['stages'] = {name: times._asdict() for name, times in row.stages.items()}
        content['ratio'] = {name: group.ratio(row, name) for name in (*STAGES, 'update')}
        content['same_weights_ratio'] = group.same_weights_ratio(row)
        content['share_of_peak'] = group.share_of_peak(row)
        rows.append(content)
    return {**asdict(group), 'rows': rows}


def chart(groups: Sequence[SpeedTable]) -> Figure:
    """Return a figure of the search stage's medians: a panel for each group, a bar for each row.

    Beside a bar stand its median and its speed relative to the group's first row; the bars of
    reference graphs are grey.
    """
    from matplotlib.figure import Figure

    rows = [len(group.rows) for group in groups]
    height = 0.6 + sum(0.7 + 0.3 * number for number in rows)
    figure = Figure(figsize=(10, height), dpi=100, constrained_layout=True)
    figure.suptitle('Median time of the search stage (speed relative to the first row)')
    models = list(dict.fromkeys(row.model for group in groups for row in group.rows))
    heights = [2 + number for number in rows]
    panels = figure.subplots(
        len(groups), sharex=True, squeeze=False, gridspec_kw={'height_ratios': heights}
    )
    for group, axes in zip(groups, panels[:, 0]):
        medians = [row.stages['search'].median for row in group.rows]
        colours = [
            '0.65' if row.reference else f'C{models.index(row.model) % 10}' for row in group.rows
        ]
        bars = axes.barh(range(len(medians)), medians, color=colours)
        ratios = [
            f'{median:.1f} ms   {group.ratio(row, "search"):.2f}x'
            for row, median in zip(group.rows, medians)
        ]
        axes.bar_label(bars, ratios, padding=5)
        axes.set_yticks(range(len(medians)), [f'{row.model}, {row.label}' for row in group.rows])
        axes.invert_yaxis()
        axes.margins(x=0.25)
        axes.set_title(f'{group.title}, peak {group.peak_gflops:.0f} GFLOP/s', loc='left')
    panels[-1, 0].set_xlabel('ms')
    return figure
