# SPDX-License-Identifier: Apache-2.0
"""Add INT8 search graphs to a model folder, if they track about as well as the float graph.

The graphs are calibrated on crops along the true tracks of sequences (--data). The layers that INT8
harms most stay in float, as few as possible for the average overlap (AO) on other sequences
(--evaluate).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hcat_ros.commands.ending import IncompleteError
from hcat_ros.commands.messages import show_messages
from hcat_ros.evaluation.clips import describe_left_out, keep_scorable, read_data_set
from hcat_ros.evaluation.workers import check_jobs
from hcat_ros.files import scratch_folder
from hcat_ros.models import (
    ACCEPTED_DROP,
    INT8_SEARCH_FILE,
    INT8_TENSORRT_FILE,
    add_to_model,
    load_model,
)

CALIBRATION, TEST = 100, 50
"""Numbers of crops, for measuring value ranges and for comparing layers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('model', help='name or folder of a model')
    for name, meaning in (
        ('--data', 'sequences for the calibration'),
        ('--evaluate', 'other sequences, for measuring AO'),
    ):
        text = f'{meaning}, each with groundtruth.txt'
        parser.add_argument(name, type=Path, required=True, metavar='DIR', help=text)
    parser.add_argument(
        '--max-drop',
        type=float,
        default=ACCEPTED_DROP,
        help=f'largest accepted drop in AO; a graph that loses more than {ACCEPTED_DROP:g} runs '
        'only with precision int8, not auto',
    )
    parser.add_argument('--starts', type=int, default=4, help='passes per sequence, see hcat tune')
    parser.add_argument('--jobs', type=int, default=1, help='processes')


def run(arguments: argparse.Namespace) -> None:
    """Calibrate, rank, choose, write. The model is unchanged unless a graph is accepted.

    Raises ValueError, ModelError, RuntimeError, OSError; IncompleteError, at the end, for sequences
    that were left out.
    """
    try:
        from hcat_ros.quantization.choice import Judge, worst_first, write_accepted
        from hcat_ros.quantization.examples import crops_along_tracks
        from hcat_ros.quantization.graph import SearchQuantizer
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[quantize]'") from error
    check_jobs(arguments.jobs)
    for name, low in (('starts', 1), ('max_drop', 0)):
        value = getattr(arguments, name)
        if not value >= low:
            raise ValueError(f'--{name.replace("_", "-")} {value}: expected {low} or more')
    model = load_model(arguments.model)
    if not os.access(model.folder, os.W_OK):
        raise ValueError(f'{model.folder} is not writable; copy the folder and name the copy')
    data = read_data_set('plain', arguments.data)
    crops = crops_along_tracks(data.clips, model.card, CALIBRATION + TEST)
    evaluated = read_data_set('plain', arguments.evaluate)
    judged = keep_scorable(evaluated.clips)
    with scratch_folder('hcat-quantize') as made:
        quantizer = SearchQuantizer(model, crops[:CALIBRATION], crops[CALIBRATION:], made)
        layers = worst_first(quantizer)
        judge = Judge(model, judged, made, arguments.starts, arguments.jobs, show_messages)
        reference = judge.float_overlap()
        print(f'fp32: AO {reference}')
        floor = reference.mean - arguments.max_drop
        files: dict[str, Path] = {}
        scores: dict[str, object] = {
            'protocol': f'mean AO of {arguments.starts} starts',
            'fp32': round(reference.mean, 3),
        }
        for name in (INT8_SEARCH_FILE, INT8_TENSORRT_FILE):
            found = write_accepted(
                quantizer, judge, layers, made / name, floor, name == INT8_TENSORRT_FILE
            )
            if found is None:
                print(f'{name}: AO stays below {floor:.3f}; not accepted')
                continue
            in_float, overlap = found
            print(f'{name}: AO {overlap}; in float: {", ".join(in_float) or "no layer"}')
            files[name] = made / name
            scores[name] = {'AO': round(overlap.mean, 3), 'in float': list(in_float)}
        if not files:
            raise RuntimeError(f'no INT8 graph is accepted; {model.folder} is unchanged')
        add_to_model(model, files, scores={**model.card.scores, 'INT8': scores})
    print(f'wrote {", ".join(files)} into {model.folder}')
    left_out = describe_left_out(data, data.clips) + describe_left_out(evaluated, judged)
    if left_out:
        raise IncompleteError(f'sequences left out: {"; ".join(dict.fromkeys(left_out))}')
