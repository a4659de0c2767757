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
