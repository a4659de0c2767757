# SPDX-License-Identifier: Apache-2.0
"""Report what is installed, which engines work and how fast, and what to install for the rest.

The report lists every engine and precision that could run by default, with its time or the reason
why it failed, and says which of them is chosen for engine auto and precision auto.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
from importlib import metadata

import numpy as np

from hcat_ros import __version__
from hcat_ros.commands.own_process import ProcessError, in_own_process
from hcat_ros.engines import ENGINES, EngineError, choose_engine, load_engine
from hcat_ros.engines.candidates import COMPARED, Candidate
from hcat_ros.engines.machine import processor
from hcat_ros.engines.self_test import self_test
from hcat_ros.engines.timing import time_searches
from hcat_ros.markdown import table_head, table_row
from hcat_ros.models import DEFAULT_MODEL, Model, ModelError, int8_objection, load_model

PACKAGES = {
    'numpy': 'numpy',
    'cv2': 'opencv-python-headless',
    'onnxruntime': 'onnxruntime',
    'openvino': 'openvino',
    'ncnn': 'ncnn',
    'torch': 'torch',
    'tensorrt': 'tensorrt',
    'polygraphy': 'polygraphy',
    'aiohttp': 'aiohttp',
    'rclpy': '',
    'vision_msgs': '',
}
"""Modules and the PyPI package of each; '' for modules that come with ROS."""
LONGEST = 86400
"""Largest value of --seconds and --limit, s: a day."""
CPU_FEATURES = {
    'avx2': 'AVX2',
    'avx512f': 'AVX-512',
    'avx512_vnni': 'VNNI',
    'avx_vnni': 'VNNI',
    'avx512_bf16': 'bf16',
    'amx_int8': 'AMX INT8',
    'amx_bf16': 'AMX bf16',
    'asimd': 'NEON',
    'asimddp': 'dot product',
    'asimdhp': 'fp16',
    'bf16': 'bf16',
    'sve': 'SVE',
}
"""Linux's CPU flags and their common names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name or folder')
    parser.add_argument('--precision', default='auto', help='auto, or a precision for all engines')
    parser.add_argument(
        '--threads', type=int, default=0, help='CPU threads, 0: one per physical core'
    )
    parser.add_argument('--seconds', type=float, default=2.0, help='seconds to measure each engine')
    parser.add_argument(
        '--limit', type=float, default=120.0, help='seconds in which a package or engine must load'
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the report. Raises ModelError, ValueError.

    Each package and each engine is loaded in its own process: some cannot share a process, and a
    crash or a hang shall become a line of the report, not end it.
    """
    for name in ('seconds', 'limit'):
        if not 0 < getattr(arguments, name) <= LONGEST:
            raise ValueError(
                f'--{name} {getattr(arguments, name)}: expected above 0, at most {LONGEST}'
            )
    model = load_model(arguments.model)
    print(f'hcat_ros {__version__}, Python {platform.python_version()}, {platform.platform()}')
    print(f'{processor()}, {os.cpu_count()} CPUs: {", ".join(cpu_features()) or "plain"}')
    print(f'ROS: {os.environ.get("ROS_DISTRO", "none is sourced")}')
    for module, package in PACKAGES.items():
        try:
            state = in_own_process(installed, module, package, limit=arguments.limit)
        except ProcessError as error:
            state = f'- ({error})'
        print(f'  {module:12} {state}', flush=True)
    print(f'model {model.card.name} in {model.folder}')
    titles = ('engine', 'precision', 'search, median', 'p95', '')
    print(f'\n{table_head(titles, "llrrl")}')
    for candidate in listed(arguments.precision):
        how = (arguments.threads, arguments.seconds)
        limit = arguments.limit + arguments.seconds
        try:
            cells = in_own_process(engine_cells, candidate, model, *how, limit=limit)
        except ProcessError as error:
            cells = failed(candidate, str(error))
        print(table_row(cells), flush=True)
    how = (arguments.precision, arguments.threads)
    try:
        choice = in_own_process(automatic_choice, model, *how, limit=arguments.limit)
    except ProcessError as error:
        choice = f'nothing: {error}'
    print(f'\nengine auto, precision {arguments.precision} takes: {choice}')
    if importlib.util.find_spec('tensorrt') is not None:
        print('TensorRT is preferred if its row passed, or once its engines are built.')
    print(
        'For float: precision:=fp32 (node), --precision fp32 (hcat). For one engine: engine:=NAME.'
    )


def listed(precision: str) -> list[Candidate]:
    """Return the candidates that get a row in the report."""
    return [
        Candidate(name, own)
        for name in ENGINES
        for own in (COMPARED.get(name, ('auto',)) if precision == 'auto' else (precision,))
    ]


def engine_cells(
    candidate: Candidate, model: Model, threads: int, seconds: float
) -> tuple[str, ...]:
    """Return a row of the table: how fast the engine is, or why it does not run."""
    name, precision = candidate
    try:
        engine = load_engine(model, name, precision, threads, build_if_missing=False)
        self_test(engine, model)
        times = 1e3 * time_searches([engine], seconds)[0]
    except (EngineError, ModelError) as error:
        return failed(candidate, str(error).removeprefix(f'{name}: '))
    except Exception as error:  # a broken installation can raise anything
        return failed(candidate, f'{type(error).__name__}: {error}')
    card = engine.card
    median, p95 = (f'{value:.1f} ms' for value in np.percentile(times, (50, 95)))
    state = 'passed'
    if precision == 'int8' and (objection := int8_objection(model.card)):
        state = f'passed; runs only with precision int8, not auto: {objection}'
    return (f'{name} {card.runtime_version}', card.precision, median, p95, state)


def failed(candidate: Candidate, reason: str) -> tuple[str, ...]:
    """Return the row of a candidate that does not run."""
    precision = '' if candidate.precision == 'auto' else candidate.precision
    return (candidate.engine, precision, '', '', reason.replace('\n', ' '))


def automatic_choice(model: Model, precision: str, threads: int) -> str:
    """Return the choice of engine auto and why; the new timing also serves later starts."""
    building = {'build_if_missing': False}
    try:
        return choose_engine(model, 'auto', precision, threads, building, use_cache=False).reason
    except (EngineError, ModelError) as error:
        return f'nothing: {error}'


def cpu_features() -> list[str]:
    """Return the names of processor features that speed up inference."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            lines = [line for line in file if line.startswith(('flags', 'Features'))]
    except OSError:
        return []
    flags = set(lines[0].split(':', 1)[1].split()) if lines else set()
    return list(dict.fromkeys(name for flag, name in CPU_FEATURES.items() if flag in flags))


def installed(module: str, package: str) -> str:
    """Return a module's version, or how to install it."""
    try:
        found = importlib.import_module(module)
    except Exception as error:  # a broken installation can raise anything
        remedy = f'pip install {package}' if package else 'comes with ROS 2: source its setup.bash'
        return f'- ({type(error).__name__}: {error}; {remedy})'.replace('\n', ' ')
    version = getattr(found, '__version__', None)
    if version is None:
        try:
            version = metadata.version(module)
        except metadata.PackageNotFoundError:
            version = 'installed'
    providers = getattr(found, 'get_available_providers', None)
    return f'{version} ({", ".join(providers())})' if providers else str(version)
