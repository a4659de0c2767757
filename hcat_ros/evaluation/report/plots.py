# SPDX-License-Identifier: Apache-2.0
"""Success and precision plots of all runs, with legends as in the papers: the best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.metrics import (
    NORMALISED_THRESHOLDS,
    PRECISION_PIXELS,
    PRECISION_THRESHOLDS,
    SUCCESS_THRESHOLDS,
)
from hcat_ros.evaluation.report.charts import Chart, curve_chart
from hcat_ros.evaluation.report.tables import NO_VALUE
from hcat_ros.evaluation.scored_run import Run


class LegendEntry(NamedTuple):
    """A line of a legend: a run and its value."""

    run: int
    title: str
    value: str


class Plot(NamedTuple):
    """A chart with the curves of all runs, and its legend."""

    title: str
    measure: str
    """Name of the measure whose values the legend shows."""
    chart: Chart
    legend: list[LegendEntry]


class _Kind(NamedTuple):
    title: str
    field: str
    """Field of RunScore."""
    measure: str
    """Name of the legend's measure in the protocol."""
    x: NDArray[np.floating[Any]]
    axis: str
    at: float | None
    """Value of x at which the measure is read; None: the measure is the area under the curve."""
    where: str
    """Description of the measure, in words."""


_SUCCESS = _Kind(
    'Success',
    'success',
    'success AUC',
    SUCCESS_THRESHOLDS,
    'IoU threshold',
    None,
    'area under the curve',
)
_PRECISION = _Kind(
    'Precision', 'precision', 'precision', PRECISION_THRESHOLDS, 'centre error, pixels',
    PRECISION_PIXELS, f'within {PRECISION_PIXELS:g} pixels',
)  # fmt: skip
_NORMALISED = _Kind(
    'Normalised precision', 'normalised_precision', 'normalised precision', NORMALISED_THRESHOLDS,
    "centre error, in the target's sides", None, 'area under the curve',
)  # fmt: skip
# LaSOT's papers report normalised precision at one threshold, like precision.
_NORMALISED_02 = _NORMALISED._replace(
    measure='normalised precision 0.2', at=0.2, where="within 0.2 of the target's sides"
)


def plots(runs: Sequence[Run]) -> list[Plot]:
    """Return the three plots; plots without a curve are left out."""
    lasot = _NORMALISED_02.measure in runs[0].score.measures
    kinds = (_SUCCESS, _PRECISION, _NORMALISED_02 if lasot else _NORMALISED)
    return [plot for kind in kinds if (plot := _plot(kind, runs)) is not None]


def _plot(kind: _Kind, runs: Sequence[Run]) -> Plot | None:
    curves = [np.asarray(getattr(run.score, kind.field), np.float64) for run in runs]
    if not any(np.isfinite(curve).all() for curve in curves):
        return None
    values = [
        run.score.measures.get(kind.measure, _value(kind, curve))
        for run, curve in zip(runs, curves)
    ]
    order = sorted(range(len(runs)), key=lambda n: (math.isnan(values[n]), -values[n]))
    legend = [
        LegendEntry(n, runs[n].title, NO_VALUE if math.isnan(values[n]) else f'{values[n]:.3f}')
        for n in order
    ]
    numbers = ', '.join(f'{entry.title} {entry.value}' for entry in legend)
    label = f'{kind.title} plot. Share of frames, {kind.where}: {numbers}'
    chart = curve_chart(curves, kind.x, kind.axis, label, kind.at)
    return Plot(kind.title, kind.where, chart, legend)


def _value(kind: _Kind, curve: NDArray[np.float64]) -> float:
    if kind.at is None:
        return float(curve.mean())
    return float(curve[np.abs(kind.x - kind.at).argmin()])
