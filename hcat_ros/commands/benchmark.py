# SPDX-License-Identifier: Apache-2.0
"""Measure the speed of models and engines on this machine, taking turns."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hcat_ros import __version__
from hcat_ros.commands.messages import show_messages
from hcat_ros.commands.own_process import ProcessError, in_own_process
from hcat_ros.engines import ENGINES, EngineError, check_threads
from hcat_ros.engines.machine import processor
from hcat_ros.engines.timing import take_turn
from hcat_ros.evaluation import speed
from hcat_ros.evaluation.reference_engine import ReferenceGraphs
from hcat_ros.evaluation.speed_group import SpeedTask, measure_group
from hcat_ros.evaluation.speed_report import SpeedTable, chart, document, table
from hcat_ros.files import check_outputs, scratch_folder, write_text
from hcat_ros.files.figures import check_figure, write_figure
from hcat_ros.files.pictures import MAX_IMAGE_PIXELS
from hcat_ros.models import DEFAULT_MODEL, WEIGHTS_FILE, Model, ModelError, load_model

PAPER = 'HCAT of the paper'
PEAK_SIDE = 2048
"""Side of the square matrices whose product measures the machine's peak speed."""
PEAK_SECONDS = 1.0
"""Duration of the peak measurement, s."""
PEAK_PRODUCTS = 1000
"""Maximum number of products in the peak measurement."""


class Costs(NamedTuple):
    """Reference graphs and multiply-adds of the networks, prepared before the measurement."""

    references: list[ReferenceGraphs]
    multiply_adds: dict[str, int]
    missing: dict[str, str]
    """Reason for each missing item, by its name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        '--model', nargs='+', default=[DEFAULT_MODEL], help='names or folders of models'
    )
    parser.add_argument(
        '--engine',
        nargs='+',
        default=['onnxruntime'],
        help=f'engines: all, auto, {", ".join(ENGINES)}',
    )
    parser.add_argument(
        '--precision',
        nargs='+',
        default=['fp32'],
        help="fp32, int8, bf16, ...; auto: each engine's own choice",
    )
    parser.add_argument(
        '--threads', nargs='+', type=int, default=[1, 2], help="CPU threads, 0: the engine's choice"
    )
    parser.add_argument(
        '--reference',
        action='store_true',
        help="add each model's graph in the authors' form, in ONNX Runtime, as the baseline",
    )
    parser.add_argument('--weights', type=Path, help="the model's weights, if not in its folder")
    parser.add_argument(
        '--paper',
        action='store_true',
        help="add the paper's network (random weights) in the authors' form as the first baseline",
    )
    parser.add_argument('--frames', type=int, default=200, help='measured frames per row')
    parser.add_argument(
        '--size',
        nargs=2,
        type=int,
        default=[1920, 1080],
        metavar=('W', 'H'),
        help='frame size, pixels',
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write all numbers')
    parser.add_argument('--plot', type=Path, metavar='PNG', help='draw the search times')


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the tables, write the requested files.

    Raises ValueError, ModelError; EngineError if no engine could be loaded; RuntimeError for a
    plot without Matplotlib.
    """
    width, height = arguments.size
    if arguments.frames < 1 or width < 64 or height < 64:
        raise ValueError('expected --frames of 1 or more and a --size of 64 or more')
    if width * height > MAX_IMAGE_PIXELS:
        raise ValueError(
            f'--size {width} {height}: expected at most {MAX_IMAGE_PIXELS} pixels in all'
        )
    for threads in arguments.threads:
        check_threads(threads)
    if arguments.weights and len(arguments.model) != 1:
        raise ValueError('--weights needs exactly one --model')
    engines = list(ENGINES) if arguments.engine == ['all'] else arguments.engine
    models = [load_model(name) for name in arguments.model]
    folders = [str(model.folder) for model in models]
    read = [arguments.weights] if arguments.weights else []
    check_outputs((arguments.json, arguments.plot), [*folders, *read])
    if arguments.plot:
        check_figure('--plot', arguments.plot)
    groups = []
    with scratch_folder('hcat-benchmark') as folder:
        costs = prepare(models, arguments, folder)
        missing = dict(costs.missing)
        for threads in arguments.threads:
            task = SpeedTask(
                threads,
                folders,
                engines,
                arguments.precision,
                costs.references,
                costs.multiply_adds,
                arguments.frames,
                (width, height),
            )
            try:
                group, reasons = measure_in_own_process(task)
            except ProcessError as error:
                missing[f'all with --threads {threads}'] = str(error)
                continue
            missing.update(reasons)
            groups += [group] if group else []
    if not groups:
        raise EngineError('; '.join(f'{what}: {why}' for what, why in missing.items()))
    print(f'{processor()}, {os.cpu_count()} CPUs; {platform.platform()}; hcat_ros {__version__}\n')
    for group in groups:
        print(f'### {group.title}, peak {group.peak_gflops:.0f} GFLOP/s\n\n{table(group)}\n')
    print(
        f'Each row: {arguments.frames} frames of {width}x{height}, rows taking turns; times in ms, '
        'median (95 %, 99 %); speed relative to the first row of the group, above 1 is faster.'
    )
    if not all(group.rested for group in groups):
        print('Some threads never came to rest: rows disturbed each other.')
    if missing:
        print('\nNot measured:\n')
        print('\n'.join(f'- {what}: {why}' for what, why in missing.items()))
    if arguments.json:
        content = {
            'hcat_ros': __version__,
            'processor': processor(),
            'cpus': os.cpu_count(),
            'platform': platform.platform(),
            'frames': arguments.frames,
            'size': [width, height],
            'groups': [document(group) for group in groups],
            'not_measured': missing,
        }
        write_text(arguments.json, json.dumps(content, indent=1) + '\n')
    if arguments.plot:
        write_figure(arguments.plot, chart(groups))


def prepare(models: list[Model], arguments: argparse.Namespace, folder: Path) -> Costs:
    """Count multiply-adds and write the reference graphs that were asked for into `folder`."""
    costs = Costs([], {}, {})
    wanted = 'reference graph' if arguments.reference else 'multiply-adds'
    try:
        from hcat_ros.network import HCAT, CheckpointError, load_checkpoint
        from hcat_ros.network.cost import reference_multiply_adds, search_multiply_adds
        from hcat_ros.network.reference_graph import SEARCH_FILE, TEMPLATE_FILE, export_reference
    except ImportError as error:
        costs.missing[wanted] = f"needs PyTorch ({error}); pip install 'hcat_ros[export]'"
        return costs

    def add_reference(network: HCAT, name: str) -> None:
        made = folder / str(len(costs.references))
        made.mkdir()
        export_reference(network, made)
        config, backbone = network.config, network.backbone
        costs.references.append(
            ReferenceGraphs(
                name,
                made / TEMPLATE_FILE,
                made / SEARCH_FILE,
                config.template_size,
                config.search_size,
                config.search_grid,
                backbone.mean,
                backbone.std,
                reference_multiply_adds(network),
            )
        )

    if arguments.paper:
        add_reference(HCAT(), PAPER)
    for model in models:
        name = model.card.name
        if not arguments.weights and not (model.folder / WEIGHTS_FILE).is_file():
            costs.missing[f'{name}, {wanted}'] = f'no {model.folder / WEIGHTS_FILE}'
            continue
        try:
            network = load_checkpoint(arguments.weights or model.file(WEIGHTS_FILE))
        except (CheckpointError, ModelError) as error:
            costs.missing[f'{name}, {wanted}'] = str(error)
            continue
        costs.multiply_adds[name] = search_multiply_adds(network)
        if arguments.reference:
            add_reference(network, name)
    return costs


def measure_in_own_process(task: SpeedTask) -> tuple[SpeedTable | None, dict[str, str]]:
    """Measure a group in its own process, which is pinned to processors from the start.

    Thread pools (OpenVINO's, OpenMP's, OpenBLAS's) fix their size and processors at first use: in a
    shared process, a group would run on the threads of an earlier group. Raises ProcessError and
    the errors of `measure_group`.
    """
    with speed.pin_to_processors(task.threads) as processors:
        return in_own_process(_measure, task, processors)


def _measure(task: SpeedTask, processors: list[int]) -> tuple[SpeedTable | None, dict[str, str]]:
    show_messages()
    return measure_group(task, processors, peak_gflops)


def peak_gflops() -> float:
    """Return the speed of a large float32 matrix product, GFLOP/s, the best of about 1 s.

    numpy uses as many threads as the process had processors when numpy was imported.
    """
    rng = np.random.default_rng(0)
    a, b = (rng.random((PEAK_SIDE, PEAK_SIDE), np.float32) for _ in range(2))

    def multiply() -> float:
        started = time.perf_counter()
        a @ b
        return time.perf_counter() - started

    turn = take_turn(multiply, PEAK_PRODUCTS, seconds=PEAK_SECONDS)
    return float(2 * PEAK_SIDE**3 / turn.seconds.min() / 1e9)
