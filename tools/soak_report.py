# SPDX-License-Identifier: Apache-2.0
"""Report of a soak test: slopes and limits, a CSV file and a chart."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray


class Sample(NamedTuple):
    """State of the node over one sampling interval."""

    seconds: float
    """Time since the first detection, s."""
    resident: float
    """Resident memory, MB (1e6 bytes)."""
    shared: float
    """Shared part of the resident memory, MB: segments of Fast DDS, including the camera's, which
    grow to a fixed size as their slots are used for the first time."""
    descriptors: int
    threads: int
    detections: int
    """Number of detections in this interval."""
    p50: float
    """Median time from the stamp of an image to its detection in this interval, ms."""
    p99: float


class Limits(NamedTuple):
    """Limits after the warm-up for a node that must run for weeks."""

    warm_up: float
    """Time that does not count, s, while buffers and pools reach their size."""
    slope: float
    """Largest growth of the resident memory that is not shared, MB an hour."""
    rise: float
    """Largest ratio of p99 in the last third of the run to p99 in the first third."""


class Finding(NamedTuple):
    """Result of a soak test, after the warm-up."""

    slope: float
    """Least-squares growth of the resident memory that is not shared, MB an hour."""
    slope_error: float
    """Standard error of `slope`."""
    shared_slope: float
    descriptors: float
    """Median of the last third minus median of the first third; `threads` likewise."""
    threads: float
    p99_first: float
    """Median of p99 over the first third, ms."""
    p99_last: float
    problems: list[str]
    """Messages about exceeded limits."""


def line(seconds: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the slope of a least squares line and its standard error, per second."""
    x, y = seconds - seconds.mean(), values - values.mean()
    slope = float(x @ y / (x @ x))
    residual = y - slope * x
    return slope, float(np.sqrt(residual @ residual / max(len(x) - 2, 1) / (x @ x)))


def judge(samples: Sequence[Sample], limits: Limits) -> Finding:
    """Evaluate the samples. Raises ValueError for fewer than 6 after the warm-up."""
    counted = [sample for sample in samples if sample.seconds >= limits.warm_up]
    if len(counted) < 6:
        raise ValueError(
            f'{len(counted)} samples after the warm-up of {limits.warm_up:g} s: '
            'expected 6 or more; run longer or sample more often'
        )
    values = np.array(counted, np.float64)
    columns = dict(zip(Sample._fields, values.T))
    third = len(counted) // 3

    def thirds(name: str) -> tuple[float, float]:
        column = columns[name]
        return float(np.nanmedian(column[:third])), float(np.nanmedian(column[-third:]))

    slope, error = line(columns['seconds'], columns['resident'] - columns['shared'])
    shared, _ = line(columns['seconds'], columns['shared'])
    grown = {name: thirds(name)[1] - thirds(name)[0] for name in ('descriptors', 'threads')}
    first, last = thirds('p99')
    problems = [f'{name} grew by {more:g}' for name, more in grown.items() if more > 0]
    if 3600 * slope > limits.slope:
        problems.append(f'memory grows by {3600 * slope:.1f} MB an hour, over {limits.slope:g}')
    if last > limits.rise * first:
        problems.append(f'p99 rose from {first:.1f} to {last:.1f} ms, over {limits.rise:g} times')
    silent = int((columns['detections'] == 0).sum())
    if silent:
        problems.append(f'no detection in {silent} of {len(counted)} intervals')
    return Finding(
        3600 * slope, 3600 * error, 3600 * shared, *grown.values(), first, last, problems
    )


def write_csv(samples: Sequence[Sample], path: Path) -> None:
    """Write one row for each sample."""
    with path.open('w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow(Sample._fields)
        writer.writerows([f'{value:.6g}' for value in sample] for sample in samples)


def chart(samples: Sequence[Sample], warm_up: float) -> Figure:
    """Return a figure of memory, latency, descriptors and threads over time."""
    panels = {
        'memory [MB]': ('resident', 'shared'),
        'image to detection [ms]': ('p50', 'p99'),
        'open': ('descriptors', 'threads'),
    }
    figure = Figure(figsize=(10, 8), dpi=100, constrained_layout=True)
    minutes = [sample.seconds / 60 for sample in samples]
    for axes, (title, names) in zip(figure.subplots(len(panels), sharex=True), panels.items()):
        axes.set_title(title, loc='left')
        axes.axvspan(0, min(warm_up / 60, minutes[-1]), color='0.93')
        for name in names:
            axes.plot(minutes, [getattr(sample, name) for sample in samples], label=name)
        axes.set_ylim(bottom=0)
        axes.legend(loc='lower right')
    axes.set_xlabel('minutes; grey: warm-up')
    return figure
