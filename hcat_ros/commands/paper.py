# SPDX-License-Identifier: Apache-2.0
"""Build and measure the paper's systems, and print its tables: paper, here, ratio.

All systems take about 3 GB of temporary files, 6 GB of memory and a few minutes; --rounds 0 counts
parameters and multiply-adds, and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

from tqdm import tqdm

from hcat_ros import __version__
from hcat_ros.engines import check_threads
from hcat_ros.engines.machine import processor
from hcat_ros.evaluation.paper.accuracy import read_results
from hcat_ros.evaluation.paper.report import Measuring, document, render_markdown
from hcat_ros.evaluation.paper.systems import SYSTEMS, Cost, run_file, select_systems
from hcat_ros.evaluation.paper.tables import PaperFindings
from hcat_ros.evaluation.paper.turns import (
    RUNTIMES,
    Job,
    Prepared,
    TurnTimes,
    load_runtime,
    measure,
)
from hcat_ros.files import check_outputs, write_text
from hcat_ros.models import CARD_FILE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        '--only', nargs='+', metavar='NAME', help=f'some of {", ".join(SYSTEMS)}; all unless given'
    )
    parser.add_argument(
        '--engine', nargs='+', default=['torch', 'onnxruntime'], choices=RUNTIMES, help='runtimes'
    )
    parser.add_argument(
        '--threads', type=int, default=1, help="CPU threads, 0: the engine's choice"
    )
    parser.add_argument(
        '--rounds', type=int, default=8, help='turns of each row; 0: count, but measure nothing'
    )
    parser.add_argument('--seconds', type=float, default=0.1, help='approximate length of a turn')
    parser.add_argument(
        '--results',
        nargs='+',
        default=[],
        metavar='NAME=FOLDER',
        help='results of hcat evaluate --out for a trained system',
    )
    parser.add_argument(
        '--export', type=Path, metavar='DIR', help='keep the untrained models in this folder'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='write the tables as Markdown')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all numbers')


def run(arguments: argparse.Namespace) -> None:
    """Build, count, measure, print. Raises ValueError, RuntimeError, OSError."""
    read = [folder for text in arguments.results if (folder := text.partition('=')[2])]
    check_outputs((arguments.out, arguments.json), read)
    try:
        from hcat_ros.training import paper_systems  # noqa: F401 PyTorch, onnx and more
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[export]'") from error
    if arguments.rounds < 0:
        raise ValueError(f'--rounds {arguments.rounds}: expected 0 or more')
    check_threads(arguments.threads)
    if not arguments.seconds > 0:
        raise ValueError(f'--seconds {arguments.seconds:g}: expected above 0')
    files = {name: run_file(name) for name in select_systems(arguments.only)}
    if arguments.export:
        for folder in (arguments.export / name for name in files):
            if (folder / CARD_FILE).exists():
                raise ValueError(f'{folder} holds a model; give another folder with --export')
    results = read_results(arguments.results)
    missing: dict[str, str] = {}
    measuring = None
    if arguments.rounds or arguments.export:
        with tempfile.TemporaryDirectory(prefix='hcat-') as folder:
            prepared = _prepare(files, arguments.export, Path(folder), missing)
            costs = {system.name: system.cost for system in prepared}
            times = _measure(prepared, arguments) if arguments.rounds else TurnTimes({}, {}, True)
        missing.update(times.missing)
        seconds = times.seconds
        if seconds:
            settings = arguments.rounds, arguments.seconds, arguments.threads
            measuring = Measuring(*settings, times.rested)
    else:
        costs, seconds = _count(files, missing), {}
    if not costs:
        raise RuntimeError('; '.join(f'{what}: {why}' for what, why in missing.items()))
    findings = PaperFindings(costs, seconds, results)
    cpus = f'{processor()}, {os.cpu_count()} CPUs'
    where = f'{cpus}; {platform.platform(terse=True)}; hcat_ros {__version__}'
    text = render_markdown(findings, where, measuring, missing)
    print(text)
    if arguments.out:
        write_text(arguments.out, text)
    if arguments.json:
        content = {'where': where, **document(findings, measuring, missing)}
        write_text(arguments.json, json.dumps(content, indent=1) + '\n')


def _count(files: dict[str, Path], missing: dict[str, str]) -> dict[str, Cost]:
    """Return the systems' costs; add those that cannot be built to `missing`, with the reason."""
    from hcat_ros.training.paper_systems import count

    costs = {}
    for name, path in files.items():
        try:
            costs[name] = count(path)
        except ModuleNotFoundError as error:
            missing[name] = str(error)
    return costs


def _prepare(
    files: dict[str, Path], kept: Path | None, folder: Path, missing: dict[str, str]
) -> list[Prepared]:
    """Export the systems; add those that cannot be built to `missing`, with the reason.

    kept: folder for the models; None puts them into `folder` with the other files.
    """
    from hcat_ros.training.paper_systems import prepare_all

    models, processes = kept or folder / 'models', min(len(files), os.cpu_count() or 1, 4)
    made = prepare_all(files, models, folder / 'authors', processes)
    systems = []
    for name, system in tqdm(made, 'exporting', len(files), unit='system', disable=None):
        if isinstance(system, str):
            missing[name] = system
        else:
            systems.append(system)
    return systems


def _measure(systems: list[Prepared], arguments: argparse.Namespace) -> TurnTimes:
    from hcat_ros.training.paper_systems import load_torch

    loaders = {'torch': load_torch}
    jobs = {
        runtime: (Job(runtime, systems, arguments.threads), loaders.get(runtime, load_runtime))
        for runtime in arguments.engine
    }
    return measure(
        jobs,
        arguments.rounds,
        arguments.seconds,
        lambda numbers: tqdm(numbers, 'measuring', unit='round', disable=None),
    )
