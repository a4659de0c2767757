# SPDX-License-Identifier: Apache-2.0
"""What was run, and how, as rows of text."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hcat_ros.evaluation.protocols import PROTOCOLS, Protocol
from hcat_ros.evaluation.report.tables import NO_VALUE
from hcat_ros.evaluation.scored_run import Run

COMMAND = 'command'
"""Key of a configuration: the command line that does it again, text or words."""

COMPARED = {
    'got10k': 'Overlaps are those of what is inside of the frame.',
    'trackingnet': 'Boxes are rounded to whole pixels.',
    'vot': 'Overlaps are counted in pixels of the frame.',
}
"""How protocols compare boxes, those that do not take them as they are."""


class ReportedSetting(NamedTuple):
    """One setting of all runs."""

    path: tuple[str, ...]
    """Its keys, from the outermost one on."""
    values: tuple[str, ...]
    """One a run."""

    @property
    def same(self) -> bool:
        """Whether all runs have the same."""
        return len(set(self.values)) == 1


def settings(runs: Sequence[Run]) -> list[ReportedSetting]:
    """Return all settings but the command line, in the order of the first run that has them."""
    flat = [
        dict(_flatten({k: v for k, v in run.configuration.items() if k != COMMAND})) for run in runs
    ]
    paths = list(dict.fromkeys(path for part in flat for path in part))
    # Settings of one group stay together where only a later run has some of them.
    groups = list(dict.fromkeys(path[:1] for path in paths))
    paths.sort(key=lambda path: groups.index(path[:1]))
    return [
        ReportedSetting(path, tuple(part.get(path, NO_VALUE) for part in flat)) for path in paths
    ]


def _flatten(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(value, (list, tuple)):
        if value and all(_is_pair(item) for item in value):
            value = dict(value)
        elif any(isinstance(item, (Mapping, list, tuple)) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        else:
            value = ', '.join(map(str, value)) or NO_VALUE
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flatten(item, (*path, str(key)))
    elif path:
        yield path, NO_VALUE if value is None or value == {} else str(value)


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str)


def commands(runs: Sequence[Run]) -> list[str]:
    """Return the command lines of the runs, each once, as one types them."""
    found = [run.configuration.get(COMMAND) for run in runs]
    lines = [
        shlex.join(map(str, c)) if isinstance(c, (list, tuple)) else str(c) for c in found if c
    ]
    return list(dict.fromkeys(lines))


def protocols(runs: Sequence[Run]) -> list[Protocol]:
    """Return the protocols by which runs were scored, each once, those that are known."""
    names = dict.fromkeys(str(run.configuration.get('protocol', '')) for run in runs)
    return [p for name in names for p in PROTOCOLS.values() if name in (p.name, p.title)]


def words(protocol: Protocol) -> str:
    """Return how a protocol counts."""
    first = 'counts, as a hit' if protocol.first else 'does not count'
    absent = {'left out': 'are left out', 'missed': 'count as missed'}[protocol.absent]
    weight = {
        'sequence': 'each sequence has the same weight',
        'counted': 'all frames of all sequences are pooled',
        'length': "a sequence's weight is its number of frames",
    }[protocol.weight]
    parts = (
        f'The first frame, whose box is given, {first}; '
        f'frames without a true box {absent}; {weight}.',
        COMPARED.get(protocol.name, ''),
        f'Measures, the most important one first: {", ".join(protocol.measures)}.',
    )
    return ' '.join(part for part in parts if part)


def versions(run: Run) -> str:
    """Return a run's versions on one line, as far as its configuration has them."""
    found = run.configuration.get('versions')
    if not isinstance(found, Mapping):
        return ''
    return ', '.join(f'{path[-1]} {text}' for path, text in _flatten(found))
