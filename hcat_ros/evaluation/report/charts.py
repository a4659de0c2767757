# SPDX-License-Identifier: Apache-2.0
"""The report's charts: success and precision plots, IoU and score over time, latency.

Each chart is embedded in the page as an SVG image from Matplotlib. In the browser's dark mode the
page's style sheet inverts the charts.
"""

from __future__ import annotations

import base64
import io
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from hcat_ros.evaluation.report.scenes import Scene, spans

TEXT, GRID, ABSENT = '#1b1f24', '#d5d9de', '#e1e4e9'
COLOURS = ('#0067b0', '#d05400', '#00855f', '#a8478f', '#9a6f00', '#5b6470')
"""Colours of the runs; the seventh run has the colour of the first again."""
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (1.4, 1.2), (6, 1.5, 1.4, 1.5))
"""Lengths of strokes and gaps in line widths, by which runs can be told apart without colours."""
MOST_POINTS = 1000
"""Largest number of points of a line over time; longer lines are thinned, but keep every dip."""

STYLE: dict[Any, Any] = {
    'axes.axisbelow': True,
    'axes.edgecolor': GRID,
    'axes.facecolor': 'none',
    'axes.grid': True,
    'axes.labelcolor': TEXT,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'figure.facecolor': 'none',
    'font.family': 'sans-serif',
    'font.sans-serif': ['DejaVu Sans', 'sans-serif'],
    'font.size': 10,
    'grid.color': GRID,
    'grid.linewidth': 0.7,
    'lines.linewidth': 1.6,
    'svg.fonttype': 'none',
    'svg.hashsalt': 'hcat_ros',
    'text.color': TEXT,
    'xtick.bottom': False,
    'xtick.color': TEXT,
    'ytick.color': TEXT,
    'ytick.left': False,
}


class Chart(NamedTuple):
    """A figure of the page."""

    svg: bytes
    width: float
    """Width at which the chart's text is 10 pixels high, pixels."""
    height: float
    """Height at the same scale."""
    label: str
    """Description for screen readers."""

    @property
    def source(self) -> str:
        """The chart as a data URL, for the `src` of an image."""
        return f'data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}'


def colour(run: int) -> str:
    """Return a run's colour."""
    return COLOURS[run % len(COLOURS)]


def dashes(run: int) -> tuple[float, ...]:
    """Return the strokes and gaps of a run's line; empty for a solid one."""
    return DASHES[run % len(DASHES)]


def _draw_chart(draw: Callable[[Figure], None], size: tuple[float, float], label: str) -> Chart:
    width, height = size
    with mpl.rc_context():
        mpl.rcdefaults()  # otherwise the user's matplotlibrc would change the page
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(width / 72, height / 72))
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format='svg', metadata={'Date': None})
    return Chart(file.getvalue(), width, height, label)


def curve_chart(
    curves: Sequence[NDArray[np.float64]],
    x: NDArray[np.floating[Any]],
    title: str,
    label: str,
    mark: float | None = None,
) -> Chart:
    """Draw a curve of each run, (len(x),) shares of frames; curves with NaN are left out.

    title: title of the x axis; mark: the x at which the runs are compared; None: no single x.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.135, 0.15, 0.835, 0.82))
        if mark is not None:
            axes.axvline(mark, color=TEXT, linewidth=0.8, linestyle=(0, (2, 2)))
        for number, curve in reversed(list(enumerate(curves))):  # the first one on top
            if np.isfinite(curve).all():
                axes.plot(x, curve, color=colour(number), linestyle=_line_style(number))
        axes.set(xlim=(x[0], x[-1]), ylim=(0, 1.005), xlabel=title, ylabel='share of frames')

    return _draw_chart(draw, (330, 270), label)


def _line_style(run: int) -> str | tuple[int, tuple[float, ...]]:
    return (0, dashes(run)) if dashes(run) else '-'


def time_chart(scene: Scene, label: str) -> Chart:
    """Draw IoU and score of each run over the frames of a sequence.

    Frames without a true box are grey. Bars below show the frames that a run calls lost; if there
    is only one run, these frames are shaded, too.
    """
    scored = any(
        answer is not None and np.isfinite(answer.result.scores[1:]).any()
        for answer in scene.answers
    )
    lost = [
        number
        for number, answer in enumerate(scene.answers)
        if answer is not None and answer.result.lost.any()
    ]
    panels = [2.2] + [1.2] * scored + [0.16 * len(lost)] * bool(lost)
    height = 46 + 62 * sum(panels)

    def draw(figure: Figure) -> None:
        grid = figure.add_gridspec(
            len(panels), 1, height_ratios=panels, hspace=0.16,
            left=0.095, right=0.985, top=1 - 8 / height, bottom=34 / height,
        )  # fmt: skip
        first = scene.leading.first
        last = first + max(len(scene.leading.result.boxes) - 1, 1)
        axes = [figure.add_subplot(grid[row]) for row in range(len(panels))]
        for part in axes:
            for begin, end in spans(scene.leading.absent):
                part.axvspan(first + begin - 0.5, first + end - 0.5, color=ABSENT, linewidth=0)
            part.set_xlim(first, last)
            part.xaxis.set_major_locator(MaxNLocator(7, integer=True))
            part.tick_params(labelbottom=part is axes[-1])
        axes[-1].set_xlabel('frame')
        _lines(axes[0], scene, 'IoU', lambda answer: answer.score.overlaps)
        axes[0].axhline(0.5, color=TEXT, linewidth=0.6, linestyle=(0, (2, 2)))
        if scored:
            _lines(axes[1], scene, 'score', lambda answer: answer.result.scores)
        if lost:
            _lost_bars(axes[-1], scene, lost)
            if len(scene.answers) == 1:
                for begin, end in spans(scene.leading.result.lost):
                    axes[0].axvspan(
                        first + begin - 0.5, first + end - 0.5,
                        color=colour(0), alpha=0.14, linewidth=0,
                    )  # fmt: skip

    return _draw_chart(draw, (480, height), label)


def _lines(
    axes: Axes, scene: Scene, title: str, values: Callable[..., NDArray[np.float64]]
) -> None:
    for number, answer in reversed(list(enumerate(scene.answers))):
        if answer is None:
            continue
        line = values(answer)
        if not np.isfinite(line).any():
            continue
        x, y = thin_out(answer.first + np.arange(len(line)), line)
        width, alpha = (1.3, 1.0) if number == 0 else (1.0, 0.8)
        axes.plot(x, y, color=colour(number), linewidth=width, alpha=alpha)
        # Known frames without known neighbours have no line, so they are drawn as points.
        known = np.concatenate([[False], np.isfinite(y), [False]])
        alone = known[1:-1] & ~known[:-2] & ~known[2:]
        if alone.any():
            axes.plot(x[alone], y[alone], '.', color=colour(number), markersize=3)
    axes.set(ylim=(-0.02, 1.02), ylabel=title)
    axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))


def _lost_bars(axes: Axes, scene: Scene, runs: Sequence[int]) -> None:
    for row, number in enumerate(runs):
        answer = scene.answers[number]
        assert answer is not None
        bars = [
            (answer.first + begin - 0.5, end - begin) for begin, end in spans(answer.result.lost)
        ]
        axes.broken_barh(bars, (row + 0.15, 0.7), facecolors=colour(number), linewidth=0)
    axes.set(ylim=(len(runs), 0))
    axes.set_ylabel('lost', rotation=0, ha='right', va='center', labelpad=6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.grid(False)


def thin_out(
    x: NDArray[np.generic], y: NDArray[np.float64], most: int = MOST_POINTS
) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Return at most `most` points of a line: the lowest and the highest point of each stretch.

    A stretch of only NaN stays a gap.
    """
    if len(y) <= most:
        return x, y
    edges = np.linspace(0, len(y), most // 2 + 1).astype(int)
    kept: list[int] = []
    for begin, end in itertools.pairwise(edges):
        known = begin + np.flatnonzero(np.isfinite(y[begin:end]))
        if len(known):
            kept += sorted({int(known[y[known].argmin()]), int(known[y[known].argmax()])})
        else:
            kept.append(int(begin))
    return x[kept], y[kept]


def latency_chart(
    times: Sequence[NDArray[np.float64]], label: str, limit: float | None = None
) -> Chart | None:
    """Draw how long the updates of each run took: histograms over milliseconds, logarithmic.

    times: durations of each run's updates, (m,), seconds; limit: time between two frames, which is
    marked. The slowest and the fastest half percent of each run may lie outside the chart. Returns
    None if no duration is known.
    """
    milliseconds = [1e3 * part[part > 0] for part in times]
    ranges = [np.percentile(part, [0.5, 99.5]) for part in milliseconds if len(part)]
    if not ranges:
        return None
    low, high = float(np.min(ranges)) * 0.9, float(np.max(ranges)) * 1.1
    edges = np.geomspace(low, high, 81)

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.095, 0.17, 0.885, 0.79))
        for number, part in reversed(list(enumerate(milliseconds))):
            if not len(part):
                continue
            shares = 100 * np.histogram(part, edges)[0] / len(part)
            axes.stairs(shares, edges, color=colour(number), fill=True, alpha=0.18)
            axes.stairs(shares, edges, color=colour(number), linewidth=1.4)
        if limit is not None and low < 1e3 * limit < high:
            axes.axvline(1e3 * limit, color=TEXT, linewidth=1, linestyle=(0, (3, 2)))
        axes.set_xscale('log')
        axes.set(xlim=(low, high), xlabel='ms an update', ylabel='% of updates')
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(FixedLocator(_ticks(low, high)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.spines['bottom'].set_color(GRID)

    return _draw_chart(draw, (480, 210), label)


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10, 20 and so on, or finer ticks if too few of these are in the range."""
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), tuple(np.arange(1, 10, 0.1))):
        ticks = [
            float(f'{step * 10.0**power:g}')
            for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            for step in steps
            if low <= step * 10.0**power <= high
        ]
        if len(ticks) >= 3:
            return ticks[:: -(-len(ticks) // 12)]
    return ticks
