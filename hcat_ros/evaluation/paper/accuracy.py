# SPDX-License-Identifier: Apache-2.0
"""Reads the accuracy of the systems from the folders that `hcat evaluate` has written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hcat_ros.evaluation.paper.figures import Benchmark
from hcat_ros.evaluation.paper.systems import SYSTEMS
from hcat_ros.files import load_json

RESULTS_FILE = 'results.json'


class Result(NamedTuple):
    """The measures of a system on a data set."""

    protocol: str
    data: str
    """Name of the folder of the data set."""
    sequences: int
    measures: dict[str, float]


def read_results(texts: Sequence[str]) -> dict[str, list[Result]]:
    """Read the results of systems. texts: NAME=FOLDER, FOLDER being the `--out` of an evaluation.

    If a folder has several trackers, the tracker called NAME is used. Raises ValueError, naming the
    text or file; OSError.
    """
    found: dict[str, list[Result]] = {}
    for text in texts:
        name, _, folder = text.partition('=')
        if name not in SYSTEMS or not folder:
            raise ValueError(
                f"--results '{text}': expected NAME=FOLDER, NAME one of {', '.join(SYSTEMS)}"
            )
        found.setdefault(name, []).append(_read(Path(folder) / RESULTS_FILE, name))
    return found


def _read(path: Path, name: str) -> Result:
    if not path.is_file():
        raise FileNotFoundError(f'no {path}; make it with hcat evaluate DATA --out {path.parent}')
    try:
        runs = load_json(path)
        titles = [str(run['title']) for run in runs]
        number = titles.index(name) if name in titles else 0
        if name not in titles and len(titles) != 1:
            raise ValueError(
                f"{path} has no tracker '{name}', only {', '.join(titles)}; give it this label in "
                'hcat evaluate, --tracker LABEL=MODEL'
            )
        return _result(runs[number])
    except (KeyError, TypeError, AttributeError, OverflowError, json.JSONDecodeError) as error:
        raise ValueError(f'{path} is not what hcat evaluate writes ({error!r})') from error


def _result(run: dict[str, Any]) -> Result:
    configuration = run['configuration']
    data = configuration['data']
    measures = {str(key): float(value) for key, value in run['measures'].items()}
    sequences = int(data['sequences'])
    return Result(str(configuration['protocol']), str(data['folder']), sequences, measures)


def percent_of(results: Sequence[Result], benchmark: Benchmark) -> tuple[float, int] | None:
    """Return a benchmark's measure in percent and its number of sequences; None if not measured."""
    for result in results:
        if result.protocol != benchmark.protocol or benchmark.key not in result.measures:
            continue
        # VOT's protocol is the same every year, but the sequences differ.
        if result.protocol.startswith('VOT') and '2020' not in result.data:
            continue
        return 100 * result.measures[benchmark.key], result.sequences
    return None
