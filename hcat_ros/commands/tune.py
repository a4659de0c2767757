# SPDX-License-Identifier: Apache-2.0
"""Sweep window penalty and size smoothing of a model over sequences; the best go to its card."""

from __future__ import annotations

import argparse
import itertools
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import yaml
from tqdm import tqdm

from hcat_ros.drawing import draw_label
from hcat_ros.engines import Engine, load_engine
from hcat_ros.evaluation.metrics import roc_auc
from hcat_ros.evaluation.one_pass import measures, one_pass
from hcat_ros.models import CARD_FILE, DEFAULT_MODEL, load_model
from hcat_ros.tracking import Tracker, TrackerConfig
from hcat_ros.training.clips import Clip, read_clips

PENALTIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


class Task(NamedTuple):
    """One sequence under one setting."""

    model: str
    engine: str
    precision: str
    penalty: float
    smoothing: float
    clip: Clip


class Row(NamedTuple):
    """A setting and what it comes to over all sequences."""

    penalty: float
    smoothing: float
    ao: dict[str, float]
    success_auc: float
    precision: float
    roc_auc: float
    """Of the raw score as a predictor of IoU above 0.5, over all frames."""

    @property
    def mean(self) -> float:
        """Mean AO of the sequences."""
        return float(np.mean(list(self.ao.values())))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('sequences', type=Path, help='folder of sequences with groundtruth.txt')
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name or folder')
    parser.add_argument('--engine', default='onnxruntime')
    parser.add_argument('--precision', default='auto')
    parser.add_argument('--penalties', nargs='+', type=float, default=list(PENALTIES))
    parser.add_argument('--smoothings', nargs='+', type=float, default=[1.0, 0.3])
    parser.add_argument('--jobs', type=int, default=1, help='processes')
    parser.add_argument('--plot', type=Path, metavar='PNG', help='draw AO over the penalty')
    parser.add_argument('--write', action='store_true', help="write the best into the model's card")


def run(arguments: argparse.Namespace) -> None:
    """Sweep, print the table, write what was asked for. Raises ValueError, ModelError."""
    clips = read_clips('plain', arguments.sequences)
    settings = list(itertools.product(arguments.penalties, arguments.smoothings))
    for penalty, smoothing in settings:
        TrackerConfig(window_penalty=penalty, size_smoothing=smoothing)  # refuses bad values
    if arguments.jobs < 1:
        raise ValueError(f'--jobs {arguments.jobs}: expected 1 or more')
    folder = load_model(arguments.model).folder
    tasks = [
        Task(str(folder), arguments.engine, arguments.precision, penalty, smoothing, clip)
        for penalty, smoothing in settings
        for clip in clips
    ]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        results = list(tqdm(pool.map(_measured, tasks), total=len(tasks), disable=None))
    rows = []
    for number, (penalty, smoothing) in enumerate(settings):
        found = results[number * len(clips) : (number + 1) * len(clips)]
        every_overlap = np.concatenate([overlap for *_, overlap, _ in found])
        every_score = np.concatenate([scores for *_, scores in found])
        seen = np.isfinite(every_overlap)
        rows.append(
            Row(
                penalty,
                smoothing,
                {clip.name: ao for clip, (ao, *_) in zip(clips, found)},
                float(np.mean([auc for _, auc, *_ in found])),
                float(np.mean([share for _, _, share, *_ in found])),
                roc_auc(every_score[seen], every_overlap[seen] > 0.5),
            )
        )
    print(table(rows))
    best = max(rows, key=lambda row: row.mean)
    print(f'\nbest: window_penalty {best.penalty:g}, size_smoothing {best.smoothing:g}')
    print('\n'.join(f'  {name}: {ao:.3f}' for name, ao in best.ao.items()))
    if arguments.plot:
        if not cv2.imwrite(str(arguments.plot), plot(rows)):
            raise ValueError(f'cannot write {arguments.plot}')
        print(f'wrote {arguments.plot}')
    if arguments.write:
        write_card(folder / CARD_FILE, best)
        print(f'wrote {folder / CARD_FILE}')


_engines: dict[tuple[str, str, str], Engine] = {}


def _measured(task: Task) -> tuple[float, float, float, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Return AO, success AUC, precision, overlaps and scores of one task; runs in a worker."""
    key = (task.model, task.engine, task.precision)
    if key not in _engines:
        _engines[key] = load_engine(*key, threads=1)
    config = TrackerConfig(window_penalty=task.penalty, size_smoothing=task.smoothing)
    tracker = Tracker(_engines[key], config)
    first = int(task.clip.visible[0])
    frames = (_frame(path) for path in task.clip.images[first:])
    answers = one_pass(tracker, frames, task.clip.boxes[first])
    result = measures(answers, task.clip.boxes[first:])
    return result.ao, result.success_auc, result.precision, result.overlaps, answers.scores


def _frame(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f'{path} is not a readable image')
    return np.asarray(image, np.uint8)


def table(rows: list[Row]) -> str:
    """Return the sweep as a Markdown table."""
    lines = [
        '| window penalty | size smoothing | AO | success AUC | precision | ROC AUC of the score |',
        '|---:|---:|---:|---:|---:|---:|',
    ]
    lines += [
        f'| {row.penalty:g} | {row.smoothing:g} | {row.mean:.3f} | {row.success_auc:.3f} | '
        f'{row.precision:.3f} | {row.roc_auc:.3f} |'
        for row in rows
    ]
    return '\n'.join(lines)


def plot(rows: list[Row]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return a picture of AO over the window penalty, a line for each size smoothing, BGR."""
    width, height, margin = 720, 420, 50
    picture = np.full((height, width, 3), 255, np.uint8)
    means = [row.mean for row in rows]
    low, high = min(means) - 0.01, max(means) + 0.01
    far = max(max(row.penalty for row in rows), 1e-9)

    def at(penalty: float, ao: float) -> tuple[int, int]:
        x = margin + penalty / far * (width - 2 * margin)
        return round(x), round(height - margin - (ao - low) / (high - low) * (height - 2 * margin))

    colours = ((200, 80, 30), (40, 150, 40), (40, 40, 210), (160, 40, 160))
    smoothings = sorted({row.smoothing for row in rows})
    for smoothing, colour in zip(smoothings, itertools.cycle(colours)):
        line = sorted((*row[:2], row.mean) for row in rows if row.smoothing == smoothing)
        points = [at(penalty, ao) for penalty, _, ao in line]
        cv2.polylines(picture, [np.array(points)], False, colour, 2, cv2.LINE_AA)
        for point, (_, _, ao) in zip(points, line):
            cv2.circle(picture, point, 4, colour, cv2.FILLED, cv2.LINE_AA)
            draw_label(picture, f'{ao:.3f}', (point[0] - 18, point[1] - 8), 0.6, (255, 255, 255))
        draw_label(picture, f'smoothing {smoothing:g}', points[-1], 0.6, (255, 255, 255))
    for penalty in sorted({row.penalty for row in rows}):
        x = at(penalty, low)[0]
        draw_label(picture, f'{penalty:g}', (x - 10, height - 15), 0.6, (255, 255, 255))
    draw_label(picture, 'AO over window penalty', (margin, 24), 0.8, (255, 255, 255))
    return picture


def write_card(path: Path, best: Row) -> None:
    """Put the best setting and its scores into a model's card."""
    card = yaml.safe_load(path.read_text(encoding='utf-8'))
    card['window_penalty'], card['size_smoothing'] = best.penalty, best.smoothing
    card['scores'] = {
        'protocol': 'one pass from the first box, no resets, frames without the target left out',
        'mean AO': round(best.mean, 3),
        'mean success AUC': round(best.success_auc, 3),
        'mean precision at 20 px': round(best.precision, 3),
        'ROC AUC of the score for IoU above 0.5': round(best.roc_auc, 3),
        'AO': {name: round(ao, 3) for name, ao in best.ao.items()},
    }
    partial = path.with_name(path.name + '.partial')
    partial.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True), encoding='utf-8')
    partial.replace(path)
