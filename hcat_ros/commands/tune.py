# SPDX-License-Identifier: Apache-2.0
"""Sweep the tracker settings of a model over sequences; --write puts the best into its card."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from hcat_ros.commands.ending import IncompleteError
from hcat_ros.commands.messages import show_messages
from hcat_ros.evaluation.clips import describe_left_out, keep_scorable, read_data_set
from hcat_ros.evaluation.metrics import LostMeasures, lost_measures, roc_auc
from hcat_ros.evaluation.one_pass import measures
from hcat_ros.evaluation.passes import START_NOISE, PassTask, run_passes
from hcat_ros.evaluation.trackers import HcatSpec
from hcat_ros.files import check_outputs
from hcat_ros.files.figures import check_figure, write_figure
from hcat_ros.markdown import markdown_table
from hcat_ros.models import CARD_FILE, DEFAULT_MODEL, Model, add_to_model, load_model
from hcat_ros.tracking import TrackerConfig

PENALTIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


class TunedRow(NamedTuple):
    """A setting and its results over all sequences."""

    penalty: float
    smoothing: float
    correction: float
    ao: dict[str, float]
    success_auc: float
    precision: float
    roc_auc: float
    """ROC AUC of the raw score as a predictor of IoU above 0.5; a frame without the target is a
    miss."""
    lost: LostMeasures

    @property
    def mean(self) -> float:
        """Mean AO over the sequences."""
        return float(np.mean(list(self.ao.values())))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('sequences', type=Path, help='folder of sequences with groundtruth.txt')
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name or folder')
    parser.add_argument('--engine', default='onnxruntime', help='engine that runs the model')
    # The default is not auto: each process would choose for itself, and the card would not name the
    # choice.
    parser.add_argument('--precision', default='fp32', help='precision of the engine')
    parser.add_argument(
        '--penalties', nargs='+', type=float, default=list(PENALTIES), help='window penalties'
    )
    parser.add_argument(
        '--smoothings', nargs='+', type=float, default=[1.0, 0.3], help='values of size smoothing'
    )
    parser.add_argument(
        '--corrections', nargs='+', type=float, help="box corrections; the card's unless given"
    )
    parser.add_argument(
        '--starts',
        type=int,
        default=1,
        help='passes per sequence: the first from the true box, the others from a box with an '
        'error of 2 %%; their mean depends less on chance',
    )
    parser.add_argument('--jobs', type=int, default=1, help='processes')
    parser.add_argument('--plot', type=Path, metavar='PNG', help='draw AO over the penalty')
    parser.add_argument('--write', action='store_true', help="write the best into the model's card")


def run(arguments: argparse.Namespace) -> None:
    """Sweep, print the table, write the requested files.

    Raises ValueError, OSError, ModelError, EngineError; RuntimeError for a plot without matplotlib;
    IncompleteError, at the end, for sequences that were left out.
    """
    model = load_model(arguments.model)
    check_outputs((arguments.plot,), (arguments.sequences, model.folder))
    if arguments.plot:
        check_figure('--plot', arguments.plot)
    data = read_data_set('plain', arguments.sequences)
    clips = keep_scorable(data.clips)
    card = model.card.tracking
    names = ('window_penalty', 'size_smoothing', 'box_correction')
    corrections = arguments.corrections or [card['box_correction']]
    settings = [
        dict(zip(names, values))
        for values in itertools.product(arguments.penalties, arguments.smoothings, corrections)
    ]
    for setting in settings:
        TrackerConfig(**{**card, **setting})  # refuses bad values
    if arguments.starts < 1:
        raise ValueError(f'--starts {arguments.starts}: expected 1 or more')
    how = (str(model.folder), arguments.engine, arguments.precision)
    starts = range(arguments.starts)
    tasks = [
        PassTask(HcatSpec(*how, tuple(setting.items())), clip, start)
        for setting in settings
        for clip in clips
        for start in starts
    ]
    running = run_passes(tasks, arguments.jobs, show_messages)
    passes = list(tqdm(running, total=len(tasks), disable=None))
    truths = (task.clip.boxes[task.clip.visible[0] :] for task in tasks)
    results = [measures(answers, truth) for answers, truth in zip(passes, truths)]
    rows = []
    for number, setting in enumerate(settings):
        own = slice(number * len(clips) * len(starts), (number + 1) * len(clips) * len(starts))
        found, answers = results[own], passes[own]
        every_overlap = np.concatenate([result.overlaps for result in found])
        every_score = np.concatenate([one.scores[1:] for one in answers])
        every_lost = np.concatenate([one.lost[1:] for one in answers])
        aos = np.reshape([result.ao for result in found], (len(clips), len(starts))).mean(axis=1)
        rows.append(
            TunedRow(
                setting['window_penalty'],
                setting['size_smoothing'],
                setting['box_correction'],
                {clip.name: float(ao) for clip, ao in zip(clips, aos)},
                float(np.mean([result.success_auc for result in found])),
                float(np.mean([result.precision for result in found])),
                roc_auc(every_score, every_overlap > 0.5),
                lost_measures(every_lost, every_overlap),
            )
        )
    print(table(rows))
    best = max(rows, key=lambda row: row.mean)
    print(
        f'\nbest: window_penalty {best.penalty:g}, size_smoothing {best.smoothing:g}, '
        f'box_correction {best.correction:g}'
    )
    print('\n'.join(f'  {name}: {ao:.3f}' for name, ao in best.ao.items()))
    if arguments.plot:
        write_plot(arguments.plot, rows)
        print(f'wrote {arguments.plot}')
    if arguments.write:
        write_card(model, best, arguments.starts)
        print(f'wrote {model.folder / CARD_FILE}')
    if left_out := describe_left_out(data, clips):
        raise IncompleteError(f'sequences left out: {"; ".join(left_out)}')


def table(rows: list[TunedRow]) -> str:
    """Return the sweep as a Markdown table."""
    titles = [
        'window penalty',
        'size smoothing',
        'box correction',
        'AO',
        'success AUC',
        'precision',
    ]
    titles += ['ROC AUC of the score', 'lost: precision', 'recall', 'false alarms']
    cells = [
        (
            f'{row.penalty:g}',
            f'{row.smoothing:g}',
            f'{row.correction:g}',
            f'{row.mean:.3f}',
            f'{row.success_auc:.3f}',
            f'{row.precision:.3f}',
            f'{row.roc_auc:.3f}',
            f'{row.lost.precision:.2f}',
            f'{row.lost.recall:.2f}',
            f'{row.lost.false_alarms:.3f}',
        )
        for row in rows
    ]
    return markdown_table(titles, cells, 'r')


def write_plot(path: Path, rows: list[TunedRow]) -> None:
    """Draw AO over the window penalty as PNG, with a line per other setting. Raises OSError."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), dpi=100, constrained_layout=True)
    axes = figure.add_subplot(xlabel='window penalty', ylabel='AO')
    for smoothing, correction in sorted({(row.smoothing, row.correction) for row in rows}):
        line = sorted(
            (row.penalty, row.mean)
            for row in rows
            if (row.smoothing, row.correction) == (smoothing, correction)
        )
        name = f'size smoothing {smoothing:g}, box correction {correction:g}'
        axes.plot(*zip(*line), marker='o', label=name)
        for point in line:
            axes.annotate(f'{point[1]:.3f}', point, xytext=(0, 6), textcoords='offset points')
    axes.margins(0.1)
    axes.grid(True)
    axes.legend()
    write_figure(path, figure)


def write_card(model: Model, best: TunedRow, starts: int) -> None:
    """Put the best setting and its scores into a model's card."""
    protocol = 'one pass from the first box, no resets, frames without the target left out'
    if starts > 1:
        protocol += f'; mean of {starts} starts, all but one with an error of {START_NOISE:.0%}'
    scores = {
        **model.card.scores,  # keeps the AO of the INT8 graphs, measured with earlier settings
        'protocol': protocol,
        'mean AO': round(best.mean, 3),
        'mean success AUC': round(best.success_auc, 3),
        'mean precision at 20 px': round(best.precision, 3),
        'ROC AUC of the score for IoU above 0.5, absent frames being misses': round(
            best.roc_auc, 3
        ),
        'lost (precision, recall, false alarms)': [round(value, 3) for value in best.lost],
        'AO': {name: round(ao, 3) for name, ao in best.ao.items()},
    }
    add_to_model(
        model,
        {},
        window_penalty=best.penalty,
        size_smoothing=best.smoothing,
        box_correction=best.correction,
        scores=scores,
    )
