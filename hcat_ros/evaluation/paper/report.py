# SPDX-License-Identifier: Apache-2.0
"""Writes the report of `hcat paper`, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hcat_ros.evaluation.paper.accuracy import percent_of
from hcat_ros.evaluation.paper.claims import CRITERION, spread, verdicts
from hcat_ros.evaluation.paper.figures import BENCHMARKS, HIT
from hcat_ros.evaluation.paper.systems import SYSTEMS
from hcat_ros.evaluation.paper.tables import PaperFindings, PaperTable, tables
from hcat_ros.markdown import markdown_table

NOTES = (
    'Networks are untrained: speed and cost do not depend on the weights, accuracy does.',
    "*The authors' form* of a network computes the layers after the template's backbone again in "
    'every frame. The figures *here* beside those of the paper are of this form. *Our form* '
    'computes everything that depends on the template alone once, and needs no separate '
    'normalisation of the image.',
    "The paper's speeds are of other hardware: compare ratios between rows, since a single row "
    'mostly shows how fast the machine is.',
    'Multiply-adds are those of convolutions and matrix products, batch 1, template 128, search '
    '256. EfficientNet-Lite0 is counted with its BatchNorms folded.',
    "The paper's figures, and the numbers of its tables, are those that the project's "
    f"specification quotes; TransT's speeds are those that {HIT} reports. *not at hand*: this "
    'project does not have the text of the paper and states no figure from memory.',
    'Accuracy comes from folders of `hcat evaluate` (`--results`).',
)


WORDS = ('system', 'systems', 'figure', 'claim', 'measured on', 'data', 'measure', 'holds here')
"""Titles of columns that hold no numbers."""


class Measuring(NamedTuple):
    """The settings with which the rows were timed."""

    rounds: int
    seconds: float
    threads: int
    rested: bool


def render_markdown(
    findings: PaperFindings, where: str, measuring: Measuring | None, missing: Mapping[str, str]
) -> str:
    """Return all tables with explanations and a list of what is missing.

    where: machine and versions, in words; measuring: None if nothing was timed.
    """
    parts = ['# The paper, reproduced', where]
    if measuring is not None:
        threads = f'{measuring.threads or "the default number of"} threads'
        threads = '1 thread' if measuring.threads == 1 else threads
        parts.append(
            f'One interleaved run of {measuring.rounds} rounds on the CPU, {threads}, a '
            f'turn of about {measuring.seconds:g} s: medians of the rounds, and in brackets the '
            'range from their 10 % to their 90 % quantile.'
        )
        if not measuring.rested:
            parts.append('Some threads never came to rest: rows disturbed each other.')
    parts.append(_glance(findings))
    for table in tables(findings):
        parts += [f'## {table.title}', _text(table)]
    if findings.seconds:
        parts.append(CRITERION)
    if missing:
        reasons = (f'- {what}: {" ".join(why.split())}' for what, why in missing.items())
        parts += ['## Not here', '\n'.join(reasons)]
    parts += ['## Notes', '\n'.join(f'- {note}' for note in NOTES)]
    return '\n\n'.join(parts) + '\n'


def _glance(findings: PaperFindings) -> str:
    """Return a summary of what was reproduced and what was not."""
    judged = [verdict.holds for verdict in verdicts(findings.costs, findings.seconds)]
    words = [f'{holds}: {judged.count(holds)}' for holds in dict.fromkeys(judged)]
    given = sum(percent_of(findings.results.get('hcat', ()), b) is not None for b in BENCHMARKS)
    return (
        f'At a glance: {len(findings.costs)} of {len(SYSTEMS)} systems were built. Whether the '
        f"paper's claims of cost and speed hold here: {', '.join(words) or 'not measured'}. "
        f"Accuracy: {given} of the paper's {len(BENCHMARKS)} figures for HCAT were measured; the "
        'others need the data sets and weights.'
    )


def _text(table: PaperTable) -> str:
    """Return a table as Markdown, with numbers aligned to the right."""
    align = ''.join('l' if title in WORDS else 'r' for title in table.head)
    return markdown_table(table.head, table.rows, align)


def document(
    findings: PaperFindings, measuring: Measuring | None, missing: Mapping[str, str]
) -> dict[str, Any]:
    """Return all figures and tables, ready for JSON."""
    rows = []
    for row, seconds in findings.seconds.items():
        median, low, high = spread(1e3 * seconds)
        times = {'ms': median, 'ms_10': low, 'ms_90': high, 'rounds_ms': (1e3 * seconds).tolist()}
        rows.append({**row._asdict(), **times})
    claims = []
    for verdict in verdicts(findings.costs, findings.seconds):
        content = verdict._asdict() | {'claim': verdict.claim._asdict()}
        if verdict.rows is not None:
            content['rows'] = [row._asdict() for row in verdict.rows]
        claims.append(content)
    return {
        'measuring': None if measuring is None else measuring._asdict(),
        'costs': {name: cost._asdict() for name, cost in findings.costs.items()},
        'rows': rows,
        'claims': claims,
        'results': {name: [r._asdict() for r in rs] for name, rs in findings.results.items()},
        'tables': [table._asdict() for table in tables(findings)],
        'missing': dict(missing),
    }
