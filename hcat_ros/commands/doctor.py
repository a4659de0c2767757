# SPDX-License-Identifier: Apache-2.0
"""Tell what is installed here, which engines work, how fast, and what to install for the rest."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import time
from importlib import metadata

import numpy as np

from hcat_ros import __version__
from hcat_ros.commands.benchmark import processor
from hcat_ros.commands.own_process import ProcessError, in_own_process
from hcat_ros.engines import ENGINES, Engine, EngineError, load_engine
from hcat_ros.engines.self_test import self_test
from hcat_ros.models import DEFAULT_MODEL, Model, load_model

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
"""Modules and the PyPI package that brings each; '' for what comes with ROS."""
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
"""Linux's flags to the names that people know."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name or folder')
    parser.add_argument('--precision', default='auto')
    parser.add_argument('--threads', type=int, default=0, help='CPU threads, 0: one a core')
    parser.add_argument('--seconds', type=float, default=2.0, help='of measuring each engine')
    parser.add_argument(
        '--limit', type=float, default=120.0, help='seconds in which a package or engine must load'
    )


def run(arguments: argparse.Namespace) -> None:
    """Print the report. Raises ModelError, ValueError.

    Each package and each engine is loaded in a process of its own: some do not bear each other in
    one, and one that crashes or hangs is to be a line of the report, not its end.
    """
    for name in ('seconds', 'limit'):
        if not getattr(arguments, name) > 0:
            raise ValueError(f'--{name} {getattr(arguments, name)}: expected above 0')
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
    print('\n| engine | precision | search, median | p95 | |\n|---|---|---:|---:|---|')
    for name in ENGINES:
        how = (arguments.precision, arguments.threads, arguments.seconds)
        limit = arguments.limit + arguments.seconds
        try:
            cells = in_own_process(engine_cells, name, model, *how, limit=limit)
        except ProcessError as error:
            cells = (name, '', '', '', str(error))
        print(f'| {" | ".join(cells)} |', flush=True)


def engine_cells(
    name: str, model: Model, precision: str, threads: int, seconds: float
) -> tuple[str, ...]:
    """Return a row of the table: how fast the engine is, or why it does not run."""
    try:
        engine = load_engine(model, name, precision, threads, build_if_missing=False)
        self_test(engine, model)
        times = 1e3 * search_times(engine, seconds)
    except EngineError as error:
        reason = str(error).removeprefix(f'{name}: ').replace('\n', ' ')
        return (name, '', '', '', reason)
    except Exception as error:  # a broken installation can raise anything
        return (name, '', '', '', f'{type(error).__name__}: {error}'.replace('\n', ' '))
    card = engine.card
    median, p95 = (f'{value:.1f} ms' for value in np.percentile(times, (50, 95)))
    return (f'{name} {card.runtime_version}', card.precision, median, p95, 'works')


def search_times(engine: Engine, seconds: float) -> np.ndarray:  # type: ignore[type-arg]
    """Return how long each search took, in seconds, for about so long."""
    card = engine.card
    rng = np.random.default_rng(0)
    template = rng.integers(0, 256, (card.template_size, card.template_size, 3), np.uint8)
    search = rng.integers(0, 256, (card.search_size, card.search_size, 3), np.uint8)
    features = engine.template(template)
    for _ in range(3):
        engine.search(search, features)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        started = time.perf_counter()
        engine.search(search, features)
        times.append(time.perf_counter() - started)
    return np.array(times)


def cpu_features() -> list[str]:
    """Return what the processor has that inference is faster with."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            lines = [line for line in file if line.startswith(('flags', 'Features'))]
    except OSError:
        return []
    flags = set(lines[0].split(':', 1)[1].split()) if lines else set()
    return list(dict.fromkeys(name for flag, name in CPU_FEATURES.items() if flag in flags))


def installed(module: str, package: str) -> str:
    """Return a module's version, or how to get it."""
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
            version = 'there'
    providers = getattr(found, 'get_available_providers', None)
    return f'{version} ({", ".join(providers())})' if providers else str(version)
