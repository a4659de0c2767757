# SPDX-License-Identifier: Apache-2.0
"""Benchmark of following: tracker and follower on a simulated platform, over many seeds.

Runs every scenario, then some manoeuvres with added latency, with and without latency compensation.
--depth adds a comparison of the range with and without depth images. Finished runs are kept in
FOLDER/follow.jsonl and not repeated. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from hcat_ros.engines import Engine, load_engine
from hcat_ros.markdown import markdown_table
from hcat_ros.models import DEFAULT_MODEL, load_model
from hcat_ros.simulation import PATHS, PLATFORMS, Scenario
from hcat_ros.simulation.closed_loop import Loop, LoopScore, run, score
from hcat_ros.tracking import Tracker, TrackerConfig

STEP = 'step'
"""Scenario with a target at rest, a quarter of the field of view off the axis."""
SCENARIOS = (STEP, *PATHS)
LATENCIES = (0.0, 0.05, 0.15)
MANOEUVRES = (STEP, 'zigzag')
"""Scenarios in which the effect of latency is measured."""


@dataclass(frozen=True)
class Case:
    """Settings of one run."""

    platform: str
    scenario: str
    seed: int
    latency: float
    compensate: bool
    seconds: float
    pictures: str
    """Folder of pictures; empty: generated pictures."""
    model: str
    precision: str
    depth: bool = False
    """Whether the range comes from depth images instead of the known height."""

    @property
    def loop(self) -> Loop:
        """The closed loop of this run."""
        still = self.scenario == STEP
        path, speed = ('straight', 0.0) if still else (self.scenario, 0.5)
        scenario = Scenario(path, self.platform, self.seed, speed)
        return Loop(
            scenario,
            seconds=self.seconds,
            latency=self.latency,
            compensate=self.compensate,
            depth=self.depth,
            turned=scenario.horizontal_fov / 4 if still else 0.0,
        )


_engines: dict[tuple[str, str], tuple[Engine, TrackerConfig]] = {}


def measured(case: Case) -> LoopScore:
    """Run a case in a worker process, which keeps its engine for the next case."""
    key = (case.model, case.precision)
    if key not in _engines:
        cv2.setNumThreads(1)
        model = load_model(case.model)
        engine = load_engine(model, 'onnxruntime', case.precision, 1)
        _engines[key] = engine, TrackerConfig(**model.card.tracking)
    pictures = Path(case.pictures) if case.pictures else None
    return score(case.loop, list(run(case.loop, Tracker(*_engines[key]), pictures)))


def cases(arguments: argparse.Namespace) -> list[Case]:
    """Return all runs; those without added latency and depth come first."""
    plain = [
        (platform, scenario, latency, compensate)
        for platform in arguments.platforms
        for scenario in arguments.scenarios
        for latency, compensate in ((0.0, True),)
    ]
    late = [
        (platform, scenario, latency, compensate)
        for platform in arguments.platforms
        for scenario in MANOEUVRES
        if scenario in arguments.scenarios
        for latency in LATENCIES
        for compensate in (True, False)
    ]
    pictures = str(arguments.pictures) if arguments.pictures else ''
    chosen = [(*one, False) for one in dict.fromkeys((*plain, *late))]
    if arguments.depth:
        chosen += [(*one, True) for one in plain if one[0] != 'gimbal']
    return [
        Case(
            platform,
            scenario,
            seed,
            latency,
            compensate,
            arguments.seconds,
            pictures,
            arguments.model,
            arguments.precision,
            depth,
        )
        for platform, scenario, latency, compensate, depth in chosen
        for seed in range(arguments.seeds)
    ]


def results(wanted: Sequence[Case], jobs: int, file: Path) -> dict[Case, LoopScore]:
    """Return all scores. The file holds the finished runs, and gets each new one."""
    done: dict[Case, LoopScore] = {}
    if file.is_file():
        for line in file.read_text(encoding='utf-8').splitlines():
            content = json.loads(line)
            done[Case(**content['case'])] = LoopScore(**content['score'])
    missing = [case for case in wanted if case not in done]
    with ProcessPoolExecutor(jobs) as pool, file.open('a', encoding='utf-8') as output:
        running = pool.map(measured, missing)
        for case, found in zip(missing, tqdm(running, total=len(missing), disable=None)):
            done[case] = found
            output.write(json.dumps({'case': asdict(case), 'score': found._asdict()}) + '\n')
            output.flush()
    return {case: done[case] for case in wanted}


def mean(values: Iterable[float], form: str = '{:.1%}') -> str:
    """Return a mean as text, '-' without values."""
    known = [value for value in values if math.isfinite(value)]
    return form.format(np.mean(known)) if known else '-'


def tables(scores: dict[Case, LoopScore]) -> str:
    """Return the results as Markdown."""
    groups: dict[Any, list[LoopScore]] = defaultdict(list)
    ranged: dict[tuple[str, str], dict[bool, list[LoopScore]]] = defaultdict(
        lambda: {False: [], True: []}
    )
    for case, found in scores.items():
        if case.latency == 0 and case.compensate:
            ranged[case.platform, case.scenario][case.depth].append(found)
        if case.depth:
            continue
        groups[case.platform, case.scenario, case.latency, case.compensate].append(found)
    plain = [
        (
            platform,
            scenario,
            mean(run.bearing_error for run in runs),
            mean([max(run.bearing_error for run in runs)]),
            mean(run.in_view for run in runs),
            f'{sum(run.found for run in runs)} of {sum(run.hidden for run in runs)}',
            mean(run.range_error for run in runs),
        )
        for (platform, scenario, latency, compensate), runs in groups.items()
        if latency == 0 and compensate
    ]
    late = [
        (
            platform,
            scenario,
            f'{1e3 * latency:.0f} ms',
            'on' if compensate else 'off',
            mean(run.bearing_error for run in runs),
            mean((run.overshoot for run in runs), '{:.0%}'),
            mean((run.settling for run in runs), '{:.2f} s'),
        )
        for (platform, scenario, latency, compensate), runs in groups.items()
        if scenario in MANOEUVRES
    ]
    titles = ['platform', 'target', 'bearing error, RMS', 'worst', 'in view', 'found again']
    late_titles = ['platform', 'target', 'latency', 'compensation', 'bearing error, RMS']
    parts = [
        markdown_table([*titles, 'range error, RMS'], plain, 'll'),
        markdown_table([*late_titles, 'overshoot', 'settled'], late, 'll'),
    ]
    compared = [
        (
            *names,
            *(mean(run.range_estimate_error for run in runs[depth]) for depth in (False, True)),
            *(mean(run.range_error for run in runs[depth]) for depth in (False, True)),
        )
        for names, runs in ranged.items()
        if runs[True]
    ]
    if compared:
        range_titles = ['platform', 'target', 'range known within', 'with depth']
        parts.append(
            markdown_table([*range_titles, 'range kept within', 'with depth'], compared, 'll')
        )
    return '\n\n'.join(parts)


def main() -> None:
    """Parse the arguments, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--platforms', nargs='+', default=list(PLATFORMS), choices=PLATFORMS)
    parser.add_argument('--scenarios', nargs='+', default=list(SCENARIOS), choices=SCENARIOS)
    parser.add_argument('--seeds', type=int, default=20)
    parser.add_argument('--seconds', type=float, default=15.0, help='duration of each run')
    parser.add_argument('--pictures', type=Path, help='folder with photos/ and cutouts/')
    parser.add_argument('--depth', action='store_true', help='also measure with depth images')
    parser.add_argument('--model', default=DEFAULT_MODEL)
    parser.add_argument('--precision', default='int8')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path('bench'), metavar='FOLDER')
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scores = results(cases(arguments), arguments.jobs, arguments.out / 'follow.jsonl')
    text = tables(scores)
    print(text)
    (arguments.out / 'follow.md').write_text(text + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
