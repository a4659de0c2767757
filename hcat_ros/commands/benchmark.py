# SPDX-License-Identifier: Apache-2.0
"""Measure the speed of models and engines on this machine, all of them in turn."""

from __future__ import annotations

import argparse
import os
import platform

import numpy as np
from tqdm import tqdm

from hcat_ros.engines import load_engine
from hcat_ros.models import DEFAULT_MODEL, load_model
from hcat_ros.tracking import Tracker, warm_up

STAGES = ('crop', 'engine', 'decode')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        '--model', nargs='+', default=[DEFAULT_MODEL], help='names or folders of models'
    )
    parser.add_argument('--engine', nargs='+', default=['onnxruntime'], help='engines')
    parser.add_argument('--precision', default='auto')
    parser.add_argument(
        '--threads', nargs='+', type=int, default=[1, 2], help='CPU threads, 0: one a core'
    )
    parser.add_argument('--frames', type=int, default=200, help='measured frames of each')
    parser.add_argument(
        '--size', nargs=2, type=int, default=[1920, 1080], metavar=('W', 'H'), help='of a frame'
    )


def run(arguments: argparse.Namespace) -> None:
    """Measure and print a table. Raises ValueError, EngineError, ModelError."""
    width, height = arguments.size
    if arguments.frames < 1 or width < 64 or height < 64:
        raise ValueError('expected --frames of 1 or more and a --size of 64 or more')
    rng = np.random.default_rng(0)
    # Coarse noise: as costly to resize as any image, and its features are not degenerate.
    coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    frame = coarse.repeat(16, 0).repeat(16, 1)[:height, :width].copy()
    trackers = {}
    for model_name in arguments.model:
        model = load_model(model_name)
        for engine_name in arguments.engine:
            for threads in arguments.threads:
                engine = load_engine(model, engine_name, arguments.precision, threads)
                warm_up(engine)
                card = engine.card
                label = f'{model_name}, {card.runtime} {card.precision}, {threads or "all"} threads'
                trackers[label] = Tracker(engine)
    box = (width * 0.45, height * 0.4, width * 0.1, height * 0.2)
    times: dict[str, list[tuple[float, ...]]] = {label: [] for label in trackers}
    warm = min(20, arguments.frames)
    for number in tqdm(range(warm + arguments.frames), unit='round', disable=None):
        # In turn, so that a machine whose speed drifts is as unfair to one as to another.
        for label, tracker in trackers.items():
            tracker.init(frame, box)  # every update from the same state, so the same work
            tracker.update(frame)
            if number >= warm:
                times[label].append(tuple(tracker.stage_times))
    print(table(times))
    print(
        f'\n{arguments.frames} frames of {width}x{height}, interleaved; {processor()}, '
        f'{os.cpu_count()} CPUs; ratio: median update of the first row to this one'
    )


def table(times: dict[str, list[tuple[float, ...]]]) -> str:
    """Return a Markdown table of medians in ms. times: label to seconds of `STAGES` a frame."""
    lines = [
        '| model, engine | ' + ' | '.join(STAGES) + ' | update | p95 | p99 | ratio |',
        '|---|' + '---:|' * (len(STAGES) + 4),
    ]
    baseline = 0.0
    for label, rows in times.items():
        stages = np.asarray(rows) * 1e3
        p50, p95, p99 = np.percentile(stages.sum(axis=1), (50, 95, 99))
        baseline = baseline or p50
        cells = [*np.median(stages, axis=0), p50, p95, p99, baseline / p50]
        lines.append(f'| {label} | ' + ' | '.join(f'{cell:.2f}' for cell in cells) + ' |')
    return '\n'.join(lines)


def processor() -> str:
    """Return the processor's name as far as the system tells it."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
