# SPDX-License-Identifier: Apache-2.0
"""Evaluate trackers on a benchmark or on sequences of your own, offline and in real time."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from hcat_ros.commands.ending import IncompleteError
from hcat_ros.commands.messages import show_messages
from hcat_ros.evaluation.clips import LAYOUTS, Clip, read_data_set
from hcat_ros.evaluation.multi_start import FOLDER, MEASURES, run_multi_start
from hcat_ros.evaluation.passes import LeftOut
from hcat_ros.evaluation.protocols import PROTOCOLS
from hcat_ros.evaluation.realtime import PREDICTORS, Latency, RealTimeRule
from hcat_ros.evaluation.result_files import find_test_split, write_submission
from hcat_ros.evaluation.results import SequenceResult, slug
from hcat_ros.evaluation.runs import Entry, Evaluation
from hcat_ros.evaluation.scored_run import Run
from hcat_ros.evaluation.trackers import parse_tracker
from hcat_ros.files import check_outputs, write_text
from hcat_ros.models import DEFAULT_MODEL

NEED_REALTIME = {'latency_ms': None, 'least_rate': False, 'permitted': 1.0, 'predict': 'none'}
"""Defaults of the arguments that need --realtime."""
BENCHMARKS = tuple(name for name in LAYOUTS if name in PROTOCOLS)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('data', type=Path, help='folder of the benchmark, in its own layout')
    parser.add_argument(
        '--benchmark',
        default='plain',
        choices=BENCHMARKS,
        help='layout and scoring; plain: folders of images with a groundtruth.txt',
    )
    parser.add_argument('--sequences', nargs='+', metavar='NAME', help='evaluate only these')
    parser.add_argument(
        '--tracker',
        nargs='+',
        default=[DEFAULT_MODEL],
        metavar='[LABEL=]TRACKER',
        help='MODEL[:ENGINE[:PRECISION]], opencv:NAME (csrt, kcf, mil, nano:BACKBONE:HEAD, ...) or '
        'still',
    )
    parser.add_argument(
        '--results',
        nargs='+',
        default=[],
        metavar='LABEL=FOLDER',
        help="other trackers' result files, a text file of boxes for each sequence",
    )
    parser.add_argument('--jobs', type=int, default=1, help='processes, each with its own tracker')
    parser.add_argument(
        '--threads', type=int, default=1, help="threads of each tracker, 0: the tracker's choice"
    )
    parser.add_argument(
        '--realtime',
        type=float,
        metavar='FPS',
        help='also evaluate in real time, at this frame rate',
    )
    parser.add_argument(
        '--latency-ms',
        metavar='MEAN[,DEVIATION]',
        help='duration of an update in real time; measured here unless given',
    )
    parser.add_argument(
        '--permitted',
        type=float,
        default=NEED_REALTIME['permitted'],
        help='share of the frame interval by which an answer may be late: 1 as in VOT-RT, 0 as in '
        'latency-aware evaluation',
    )
    parser.add_argument(
        '--predict',
        default=NEED_REALTIME['predict'],
        choices=PREDICTORS,
        help='how the box is predicted until a newer answer comes',
    )
    parser.add_argument(
        '--least-rate',
        action='store_true',
        help='find the smallest number of updates a second that keeps 95 %% of the offline score',
    )
    parser.add_argument(
        '--multi-start',
        action='store_true',
        help="also run VOT's experiment: accuracy, robustness and EAO of passes from many frames",
    )
    parser.add_argument(
        '--submission',
        action='store_true',
        help="write the archive for the benchmark's server; sequences without truth are not scored",
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('evaluation'),
        help='folder of results; kept results are reused',
    )
    parser.add_argument(
        '--restart', action='store_true', help='delete results kept in --out and start over'
    )


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, print the summary, write report and archives.

    Raises ValueError, OSError, ModelError, EngineError.
    """
    try:
        from hcat_ros.evaluation.report import write_report
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[evaluate]'") from error
    read = [Path(text.partition('=')[2]) for text in arguments.results]
    check_outputs((arguments.out,), (arguments.data, *read))
    folder = arguments.data
    if arguments.submission:
        folder = find_test_split(arguments.benchmark, folder)
    data = read_data_set(arguments.benchmark, folder)
    clips = chosen(data.clips, arguments.sequences)
    entries = [
        *(entry(text) for text in arguments.tracker),
        *(results_entry(text) for text in arguments.results),
    ]
    titles = [slug(item.title) for item in entries]
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"two trackers are called '{title}': give them labels, LABEL=TRACKER")
    name = arguments.data.resolve().name
    evaluation = Evaluation(
        PROTOCOLS[arguments.benchmark],
        clips,
        arguments.data,
        arguments.out,
        arguments.jobs,
        arguments.threads,
        real_time_rule(arguments),
        arguments.least_rate,
        # Sequences that were requested by name all exist.
        () if arguments.sequences else [str(each) for each in data.left_out],
        arguments.restart,
        arguments.command,
        show_messages,
    )
    check_results_apart(entries, arguments.out)
    arguments.out.mkdir(parents=True, exist_ok=True)
    runs = []
    incomplete: list[str] = []
    for item in map(evaluation.settle, entries):
        if arguments.submission:
            path = arguments.out / f'{slug(item.title)}.zip'
            total = len(evaluation.left_out) + len(clips)
            if lacking := write_archive(evaluation, item, path):
                incomplete.append(
                    f'{path} lacks {len(lacking)} of {total} sequences, '
                    f'and the server may refuse it: {"; ".join(lacking)}'
                )
            print(f'wrote {path}')
        if any(len(clip.visible) > 1 for clip in clips):
            done = evaluation.run(item, show_progress)
            if arguments.multi_start:
                usable = replace(evaluation, clips=done.clips)
                measures, missing = run_multi_start(usable, item, show_progress)
                whole = done.score.measures | {
                    name: getattr(measures, name.lower()) for name in MEASURES
                }
                done = replace(done, score=replace(done.score, measures=whole))
                if missing:
                    remark = f'multi-start: left out: {"; ".join(missing)}'
                    done = replace(done, remarks=(*done.remarks, remark))
            runs.append(done)
    if not runs:
        if not arguments.submission:
            raise ValueError(
                f'{arguments.data} has first boxes only, so nothing can be scored; write the '
                'archive for its server with --submission'
            )
        if incomplete:
            raise IncompleteError('; '.join(incomplete))
        return
    path = write_document(runs, arguments.out / 'results.json')
    page = write_report(runs, arguments.out, f'{PROTOCOLS[arguments.benchmark].title}: {name}')
    print(page.with_suffix('.md').read_text(encoding='utf-8').split('\n## ')[0])
    print(f'wrote {path}, {page.with_suffix(".md")} and {page}')
    incomplete += [f'{run.title}: {text}' for run in runs for text in run.remarks]
    if incomplete:
        raise IncompleteError('; '.join(incomplete))


def write_archive(evaluation: Evaluation, entry: Entry, path: Path) -> list[str]:
    """Write the archive for the benchmark's server; return a line for each sequence it lacks.

    Raises ValueError if there is no sequence to write; OSError, EngineError.
    """
    lacking = list(evaluation.left_out)
    written: list[tuple[Clip, SequenceResult]] = []
    for clip, answer in zip(evaluation.clips, evaluation.try_answers(entry, show_progress)):
        if isinstance(answer, LeftOut):
            lacking.append(f'{clip.name}: {answer.reason}')
        elif not np.isfinite(answer.boxes).all():  # possible in a result file
            lacking.append(f'{clip.name}: a frame without a box')
        else:
            written.append((clip, answer))
    if not written:
        raise ValueError(f'{entry.title}: no sequence to submit; {"; ".join(lacking)}')
    clips, results = zip(*written)
    write_submission(evaluation.protocol.name, clips, results, path)
    return lacking


def chosen(clips: list[Clip], names: Sequence[str] | None) -> list[Clip]:
    """Return the clips with these names, or all clips. Raises ValueError for an unknown name."""
    if not names:
        return clips
    known = dict.fromkeys(clip.name for clip in clips)
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f'no sequence {", ".join(missing)}; expected some of {", ".join(known)}')
    # Two clips with the same name are both returned; `Evaluation` refuses them.
    return [clip for name in dict.fromkeys(names) for clip in clips if clip.name == name]


def entry(text: str) -> Entry:
    """Return the entry for a tracker on the command line. Raises ValueError."""
    label, sign, spec = text.partition('=')
    tracker = parse_tracker(spec if sign else text)
    return Entry(label if sign else tracker.title, tracker)


def results_entry(text: str) -> Entry:
    """Return the entry for a folder of result files on the command line. Raises ValueError."""
    label, sign, folder = text.partition('=')
    if not (label and sign and folder):
        raise ValueError(f"--results '{text}': expected LABEL=FOLDER")
    if not Path(folder).is_dir():
        raise ValueError(f'--results {text}: no folder {folder}')
    return Entry(label, Path(folder))


def check_results_apart(entries: Sequence[Entry], out: Path) -> None:
    """Raise ValueError if --results names a folder to which a tracker's results are written.

    --restart would delete the named results; without it they would pass for the tracker's own.
    """
    titles = [slug(entry.title) for entry in entries if not isinstance(entry.tracker, Path)]
    for entry in entries:
        if not isinstance(entry.tracker, Path):
            continue
        folder = entry.tracker.resolve()
        for home in [out / title for title in titles] + [out / FOLDER / title for title in titles]:
            if home.resolve() in (folder, *folder.parents):
                raise ValueError(
                    f'--results {entry.title}={entry.tracker} lies in {home}, where results of '
                    'this evaluation are written; copy it elsewhere, or choose another --out'
                )


def real_time_rule(arguments: argparse.Namespace) -> RealTimeRule | None:
    """Return the rule for real time, None without --realtime. Raises ValueError."""
    if arguments.realtime is None:
        for name, default in NEED_REALTIME.items():
            if getattr(arguments, name) != default:
                raise ValueError(f'--{name.replace("_", "-")} needs --realtime FPS')
        return None
    latency = None
    if arguments.latency_ms:
        try:
            values = [float(part) / 1e3 for part in arguments.latency_ms.split(',')]
            latency = Latency(*values)
        except (TypeError, ValueError):
            raise ValueError(
                f"--latency-ms '{arguments.latency_ms}': expected MEAN or MEAN,DEVIATION"
            ) from None
    return RealTimeRule(arguments.realtime, latency, arguments.permitted, arguments.predict)


def show_progress(
    results: Iterable[SequenceResult], total: int, what: str
) -> Iterable[SequenceResult]:
    """Show a progress bar while results come."""
    bar: Iterable[SequenceResult] = tqdm(results, what, total, unit='sequence', disable=None)
    return bar


def write_document(runs: Sequence[Run], path: Path) -> Path:
    """Write all figures as JSON."""
    document = [
        {
            'title': run.title,
            'configuration': run.configuration,
            'measures': run.score.measures,
            'real time': run.real_time._asdict() if run.real_time else None,
            'remarks': list(run.remarks),
            'sequences': {score.name: score.measures for score in run.score.sequences},
        }
        for run in runs
    ]
    write_text(path, json.dumps(document, indent=2, default=_plain))
    return path


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, 'item') else str(value)
