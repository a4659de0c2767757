# SPDX-License-Identifier: Apache-2.0
"""The configuration of runs as rows of text."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hcat_ros.evaluation.protocols import PROTOCOLS, Protocol
from hcat_ros.evaluation.report.tables import NO_VALUE
from hcat_ros.evaluation.scored_run import Run

COMMAND = 'command'
"""Key of a configuration for the command line that repeats the run, a text or a list of words."""

COMPARED = {
    'got10k': 'Only the parts of the boxes inside the frame overlap.',
    'trackingnet': 'Boxes are rounded to whole pixels.',
    'vot': 'Overlaps are counted in pixels of the frame.',
}
"""Sentences about the protocols that change boxes before they compare them."""


class ReportedSetting(NamedTuple):
    """One setting, with its value in each run."""

    path: tuple[str, ...]
    """Keys of the setting, from the outermost one on."""
    values: tuple[str, ...]
    """Value in each run."""

    @property
    def same(self) -> bool:
        """Whether all runs have the same value."""
        return len(set(self.values)) == 1


def settings(runs: Sequence[Run]) -> list[ReportedSetting]:
    """Return all settings but the command line, in the order of the first run that has them."""
    flat = [
        dict(_flatten({k: v for k, v in run.configuration.items() if k != COMMAND})) for run in runs
    ]
    paths = list(dict.fromkeys(path for part in flat for path in part))
    # Settings of a group stay together, even if only a later run has some of them.
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
    """Return the command lines of the runs as they are typed, each once."""
    found = [run.configuration.get(COMMAND) for run in runs]
    lines = [
        shlex.join(map(str, c)) if isinstance(c, (list, tuple)) else str(c) for c in found if c
    ]
    return list(dict.fromkeys(lines))


def protocols(runs: Sequence[Run]) -> list[Protocol]:
    """Return the known protocols by which runs were scored, each once."""
    names = dict.fromkeys(str(run.configuration.get('protocol', '')) for run in runs)
    return [p for name in names for p in PROTOCOLS.values() if name in (p.name, p.title)]


def words(protocol: Protocol) -> str:
    """Describe in words how a protocol scores."""
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
