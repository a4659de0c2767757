# SPDX-License-Identifier: Apache-2.0
"""The paper's tables, with a figure of the paper, the figure measured here and their ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.paper.accuracy import Result, percent_of
from hcat_ros.evaluation.paper.claims import FORMS, ClaimVerdict, spread, verdicts
from hcat_ros.evaluation.paper.figures import (
    BENCHMARKS,
    DEVICES,
    SPEEDS,
    Benchmark,
    Place,
    Published,
)
from hcat_ros.evaluation.paper.systems import SYSTEMS, Cost
from hcat_ros.evaluation.paper.turns import AUTHORS, RUNTIMES, TimedRow

NOT_AT_HAND = 'not at hand'
NOT_MEASURED = 'not measured'
NO_RATIO = '-'
NAMES = {'torch': 'PyTorch', 'onnxruntime': 'ONNX Runtime', 'openvino': 'OpenVINO'}
TRIPLE = ('paper', 'here', 'ratio')


@dataclass(frozen=True)
class PaperFindings:
    """The measurements from which the tables are made."""

    costs: Mapping[str, Cost]
    """Costs by system, for the systems that could be built."""
    seconds: Mapping[TimedRow, NDArray[np.float64]] = field(default_factory=dict)
    """Median call of each round, s, by row."""
    results: Mapping[str, Sequence[Result]] = field(default_factory=dict)
    """Results of `hcat evaluate`, by system."""


class PaperTable(NamedTuple):
    """A table with a title, column titles and rows of texts."""

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


PARTS = (
    ('The parts of HCAT (table 6)', ('baseline_sa', 'baseline', 'hierarchical', 'hcat')),
    ('TransT, juxtaposed and hierarchical (table 7)', ('transt', 'transt_h')),
    (
        'Vectors that FS leaves (table 8)',
        ('hcat_s1', 'hcat_s4', 'hcat_s9', 'hcat', 'hcat_s25'),
    ),
    ('Layers and stride (table 9)', ('hcat', 'hcat_n1', 'hcat_stride8')),
    (
        'Backbones (in no table that is known here)',
        ('hcat', 'hcat_resnet50', 'hcat_convnext_tiny', 'hcat_mobilenetv2', 'hcat_lite0'),
    ),
)
"""Titles and systems of the ablations."""


def tables(findings: PaperFindings) -> list[PaperTable]:
    """Return all tables that have rows: costs and speeds, the paper's tables, and its claims."""
    found = [_costs(findings), _trackers(findings), _platforms(findings)]
    found += [_ablation(findings, title, names) for title, names in PARTS]
    found += [_other_data(findings), claims_table(verdicts(findings.costs, findings.seconds))]
    return [table for table in found if table.rows]


def fps(findings: PaperFindings, row: TimedRow) -> str:
    """Return a row's frames a second with their spread, such as 20.1 (19.0-20.5)."""
    if row not in findings.seconds:
        return NOT_MEASURED
    return '{} ({}-{})'.format(*map(_three, spread(1 / findings.seconds[row])))


def _three(value: float) -> str:
    """Return a number with about three digits: 0.512, 5.12, 51.2, 512."""
    return f'{value:.{max(0, 2 - len(str(int(value))) + 1) if value >= 1 else 3}f}'


def _costs(findings: PaperFindings) -> PaperTable:
    timed = list(dict.fromkeys((row.runtime, row.form) for row in findings.seconds))
    head = ['system', 'parameters, M', 'template + search, G']
    head += [f'a frame, {form}, G' for form in FORMS.values()]
    head += [f'{NAMES[runtime]}, {FORMS[form]}, fps' for runtime, form in timed]
    rows = []
    for name, cost in findings.costs.items():
        counts = [f'{cost.parameters / 1e6:.2f}']
        counts += [f'{value / 1e9:.2f}' for value in (cost.whole, cost.authors, cost.ours)]
        speeds = [fps(findings, TimedRow(name, *where)) for where in timed]
        rows.append((SYSTEMS[name], *counts, *speeds))
    return PaperTable('Cost and speed of every system here', tuple(head), rows)


def _trackers(findings: PaperFindings) -> PaperTable:
    """Return the accuracy of HCAT on the benchmarks, and the speeds of HCAT and TransT."""
    rows: list[tuple[str, ...]] = []
    if 'hcat' in findings.costs:
        for benchmark in BENCHMARKS:
            cells = _accuracy(findings, 'hcat', benchmark, Published(benchmark.published))
            rows.append((SYSTEMS['hcat'], f'{benchmark.data}, {benchmark.measure}, %', *cells))
    places = ('gpu', 'cpu', 'xavier')
    for name in ('hcat', 'transt'):
        if name in findings.costs:
            rows += [
                (SYSTEMS[name], *_speed_at(findings, name, Place('torch', at))) for at in places
            ]
    return PaperTable('HCAT and other trackers (table 1)', ('system', 'figure', *TRIPLE), rows)


def _platforms(findings: PaperFindings) -> PaperTable:
    rows = [
        (SYSTEMS[name], *_speed_at(findings, name, Place(runtime, device)))
        for name in ('hcat', 'hcat_n1')
        if name in findings.costs
        for runtime in ('torch', 'onnxruntime')
        for device in DEVICES
    ]
    return PaperTable(
        'Speed by runtime and platform (table 2)', ('system', 'figure', *TRIPLE), rows
    )


def _speed_at(findings: PaperFindings, name: str, place: Place) -> tuple[str, ...]:
    """Return the name of a speed figure, then paper, here and ratio."""
    device, lacking = DEVICES[place.device]
    figure = f'{NAMES[place.runtime]} on {device}, fps'
    known = SPEEDS.get((name, place))
    if lacking:
        return figure, _format_published(known), lacking, NO_RATIO
    return figure, *_speed(findings, name, place.runtime)


def _speed(findings: PaperFindings, name: str, runtime: str) -> tuple[str, str, str]:
    """Return the speed of the authors' form on the CPU: paper, here, ratio."""
    known, row = SPEEDS.get((name, Place(runtime, 'cpu'))), TimedRow(name, runtime, AUTHORS)
    ratio = NO_RATIO
    if known is not None and row in findings.seconds:
        ratio = f'{1 / float(np.median(findings.seconds[row])) / known.value:.2f}'
    return _format_published(known), fps(findings, row), ratio


def _format_published(known: Published | None) -> str:
    if known is None:
        return NOT_AT_HAND
    return f'{known.value:g} ({known.source})' if known.source else f'{known.value:g}'


def _accuracy(
    findings: PaperFindings, name: str, benchmark: Benchmark, known: Published | None
) -> tuple[str, str, str]:
    found = percent_of(findings.results.get(name, ()), benchmark)
    if found is None:
        return _format_published(known), f'needs {benchmark.data} and weights', NO_RATIO
    value, sequences = found
    ratio = NO_RATIO if known is None else f'{value / known.value:.2f}'
    return _format_published(known), f'{value:.1f} ({sequences} sequences)', ratio


def _ablation(findings: PaperFindings, title: str, names: Sequence[str]) -> PaperTable:
    """Return a row for each system's accuracy, and one for its speed in each paper's runtime."""
    first = BENCHMARKS[0]
    rows: list[tuple[str, ...]] = []
    for name in names:
        if name not in findings.costs:
            continue
        cost = findings.costs[name]
        known = Published(first.published) if name == 'hcat' else None
        figures = {
            f'{first.data} {first.measure}, %': _accuracy(findings, name, first, known),
            **{f'{NAMES[r]} on CPU, fps': _speed(findings, name, r) for r in RUNTIMES[:2]},
        }
        counts = f'{cost.parameters / 1e6:.2f}', f'{cost.authors / 1e9:.2f}'
        rows += [(SYSTEMS[name], *counts, figure, *cells) for figure, cells in figures.items()]
    head = ('system', 'parameters, M', 'multiply-adds a frame, G', 'figure', *TRIPLE)
    return PaperTable(title, head, rows)


def _other_data(findings: PaperFindings) -> PaperTable:
    """Return the results on data that the paper does not report."""
    papers = {benchmark.protocol for benchmark in BENCHMARKS}
    rows = []
    for name, results in findings.results.items():
        for result in results:
            if result.protocol not in papers:
                measure, value = next(iter(result.measures.items()))
                data = f'{result.data} ({result.protocol})'
                cells = f'{value:.3f}', f'{result.sequences}'
                rows.append((SYSTEMS[name], data, measure, *cells))
    head = ('system', 'data', 'measure', 'here', 'sequences')
    return PaperTable('Results on data that the paper does not report', head, rows)


def claims_table(found: Sequence[ClaimVerdict]) -> PaperTable:
    """Return the claims as ratios, and the verdict on each."""
    rows = []
    for verdict in found:
        where, ratio = 'parameters and multiply-adds', 'equal'
        if verdict.holds != 'yes':
            ratio = 'not equal'
        if verdict.rows is not None and verdict.ratio is not None:
            runtimes = dict.fromkeys(NAMES[row.runtime] for row in verdict.rows)
            where = f'{" against ".join(runtimes)}, {FORMS[verdict.rows[0].form]}'
            ratio = '{:.2f} ({:.2f}-{:.2f})'.format(*verdict.ratio)
        known = NOT_AT_HAND if verdict.published is None else f'{verdict.published:.2f}'
        names = f'{verdict.claim.faster} / {verdict.claim.slower}'
        rows.append((verdict.claim.text, names, where, known, ratio, verdict.holds))
    head = ('claim', 'systems', 'measured on', 'paper', 'here', 'holds here')
    return PaperTable("The paper's claims as ratios of speed", head, rows)
