# SPDX-License-Identifier: Apache-2.0
"""Tables of the ablation: each row over its seeds, and the gain from each row to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from hcat_ros.markdown import markdown_table

ROWS = {
    'baseline_sa': 'Baseline-SA',
    'baseline': 'Baseline',
    'hierarchical': '+Hierarchical',
    'fs': '+FS',
}
"""Values of the paper's table 6, by the name of the configuration."""
STEPS = (('baseline', 'baseline_sa'), ('hierarchical', 'baseline'), ('fs', 'hierarchical'))
"""Pairs of rows that are compared with the same seed."""
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Bounds that contain 95 % of Student's t distribution, for 1, 2, ... degrees of freedom."""

Results = Mapping[tuple[str, int], Mapping[str, Any]]
"""Results of `ablation_runs.measured`, by row and seed."""


def overlap(result: Mapping[str, Any]) -> float:
    """Return a run's AO, the mean over the window penalties."""
    return fmean(result['ao'].values())


def half_interval(values: Sequence[float]) -> float:
    """Return half the 95 % confidence interval of the mean; infinite for a single value."""
    if len(values) < 2:
        return math.inf
    student = STUDENT[len(values) - 2] if len(values) - 2 < len(STUDENT) else 1.96
    return student * stdev(values) / math.sqrt(len(values))


def verdict(differences: Sequence[float]) -> str:
    """Describe in words the differences of several seeds."""
    mean, half = fmean(differences), half_interval(differences)
    if abs(mean) <= half:
        return 'not shown: the interval holds 0'
    return 'helps' if mean > 0 else 'harms'


def tables(results: Results) -> str:
    """Return the rows and the differences as Markdown."""
    titles = ('', 'parameters', 'AO, mean ± deviation', 'least', 'most', 'AO of each seed', 'hits')
    titles += ('hits, wrong template', 'IoU')
    rows = []
    for row, title in ROWS.items():
        if not (runs := _of_row(results, row)):
            continue
        found = [overlap(run) for run in runs.values()]
        cells = (
            title,
            f'{next(iter(runs.values()))["parameters"] / 1e6:.2f} M',
            _spread(found),
            f'{min(found):.3f}',
            f'{max(found):.3f}',
            ', '.join(f'{value:.3f}' for value in found),
            *(
                f'{fmean(run[name] for run in runs.values()):.3f}'
                for name in ('hits', 'wrong_hits', 'iou')
            ),
        )
        rows.append(cells)
    steps = []
    for more, less in STEPS:
        found = differences(results, more, less)
        if not found:
            continue
        mean, half = fmean(found), half_interval(found)
        interval = f'{mean - half:+.3f} to {mean + half:+.3f}' if len(found) > 1 else 'one seed'
        each = ', '.join(f'{value:+.3f}' for value in found)
        names = f'{ROWS[more]} against {ROWS[less]}'
        steps.append((names, _spread(found, '+'), interval, each, verdict(found)))
    step_titles = ('same seed', 'AO, mean ± deviation', '95 % interval', 'each seed')
    step_titles += ('at this scale',)
    return '\n\n'.join(
        (
            markdown_table(titles, rows, 'lrrrrlrrr'),
            markdown_table(step_titles, steps, 'lrrll'),
        )
    )


def differences(results: Results, more: str, less: str) -> list[float]:
    """Return the difference in AO of two rows, for each seed that both have."""
    ours, theirs = _of_row(results, more), _of_row(results, less)
    return [overlap(ours[seed]) - overlap(theirs[seed]) for seed in ours if seed in theirs]


def _of_row(results: Results, row: str) -> dict[int, Mapping[str, Any]]:
    return {seed: results[name, seed] for name, seed in sorted(results) if name == row}


def _spread(values: Sequence[float], sign: str = '') -> str:
    deviation = f'{stdev(values):.3f}' if len(values) > 1 else '?'
    return f'{fmean(values):{sign}.3f} ± {deviation}'
