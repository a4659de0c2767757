# SPDX-License-Identifier: Apache-2.0
"""Track targets through every image of a rosbag, and score the tracks by truth. Needs no ROS."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hcat_ros.boxes import Box
from hcat_ros.commands.ending import IncompleteError
from hcat_ros.commands.window import drawn_box
from hcat_ros.engines import ENGINES
from hcat_ros.files import write_text
from hcat_ros.models import DEFAULT_MODEL
from hcat_ros.tracking import Tracker
from hcat_ros.tracking.encodings import Image

if TYPE_CHECKING:
    from hcat_ros.evaluation.bags.reading import Bag, BagFrame
    from hcat_ros.evaluation.bags.recorded_tracks import Recorded
    from hcat_ros.evaluation.bags.replay import Replayed
    from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.scored_run import Run

MOST_SPANS = 8
"""Maximum number of spans with a lost target that the summary lists."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('bag', type=Path, help='folder of a rosbag2, or its .mcap or .db3 file')
    parser.add_argument(
        '--image',
        '--image-topic',
        default='',
        metavar='TOPIC',
        help='image topic; needed if the bag has several',
    )
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        '--box',
        nargs=4,
        type=float,
        action='append',
        metavar=('X', 'Y', 'W', 'H'),
        help='init box in the first image, pixels; repeat it for each of several targets',
    )
    target.add_argument('--select', action='store_true', help='draw the init box in a window')
    target.add_argument(
        '--init-box-topic',
        default='',
        metavar='TOPIC',
        help='Detection2D topic of init boxes; a topic called init_box is found automatically',
    )
    parser.add_argument(
        '--truth',
        action='append',
        default=[],
        metavar='TOPIC|FILE',
        help='true boxes: a Detection2D topic, a text file with x y w h for each image, or a CSV '
        'file with the columns stamp or frame, x, y, w, h. Repeat it for each of several targets, '
        'in the order in which they are named. Without an init box, the first true box is used',
    )
    parser.add_argument(
        '--track',
        type=Path,
        metavar='BAG',
        help='also judge the track in this bag, recorded from the node, and compare the two',
    )
    parser.add_argument(
        '--max-targets',
        type=int,
        metavar='COUNT',
        help='most targets that are followed at once; by default the number of --box',
    )
    parser.add_argument(
        '--start', type=float, default=0.0, metavar='SECONDS', help='seconds of the bag to skip'
    )
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name or folder of a model')
    parser.add_argument('--engine', default='auto', choices=['auto', *ENGINES])
    parser.add_argument(
        '--precision', default='auto', help='fp32: float; auto: int8 where the card accepts it'
    )
    parser.add_argument(
        '--threads', type=int, default=0, help='CPU threads, 0: one per physical core'
    )
    parser.add_argument('--window-penalty', type=float, help="0 to 1; the model's own unless given")
    parser.add_argument(
        '--set', nargs='+', default=[], metavar='NAME=VALUE', help='other settings of the tracker'
    )
    parser.add_argument('--mono16-bits', type=int, default=16, help='used bits per pixel')
    parser.add_argument(
        '--out', type=Path, metavar='FOLDER', help='output folder; by default BAGNAME_replay'
    )
    parser.add_argument('--force', action='store_true', help="replace an earlier replay's files")


def run(arguments: argparse.Namespace) -> None:
    """Replay, print the summary.

    Raises ValueError, OSError, EngineError, RuntimeError; IncompleteError, at the end, for parts of
    the bag that could not be used.
    """
    try:
        from hcat_ros.evaluation.bags.reading import open_bag
        from hcat_ros.evaluation.bags.recorded_tracks import judge_recorded, recorded_tracks
        from hcat_ros.evaluation.bags.replay import WRITTEN, Options, replay
        from hcat_ros.evaluation.report import write_report
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[evaluate]'") from error
    if not 0 <= arguments.start < math.inf:
        raise ValueError(f'--start {arguments.start:g}: expected 0 or more seconds')
    if not 8 <= arguments.mono16_bits <= 16:
        raise ValueError(f'--mono16-bits {arguments.mono16_bits}: expected 8 to 16')
    named = len(arguments.box or ())
    max_targets = max(1, named) if arguments.max_targets is None else arguments.max_targets
    if arguments.track and max_targets > 1:
        raise ValueError(
            f'--track: a recorded track has one target, not {max_targets}; give one --box, '
            'and leave out --max-targets'
        )
    options = Options(
        arguments.image,
        tuple(Box(*box) for box in arguments.box or ()),
        _draw if arguments.select else None,
        arguments.init_box_topic,
        tuple(truth for truth in arguments.truth if truth),
        arguments.start,
        arguments.mono16_bits,
        max_targets,
    )
    with open_bag(arguments.bag) as bag:
        out = arguments.out or Path(f'{bag.name}_replay')
        read = [arguments.track] if arguments.track else []
        # Read before the long replay, so that a bag without a track is reported at once.
        tracks = recorded_tracks(arguments.track, bag.findings) if arguments.track else []
        tracker, title, configuration = _tracker(arguments)
        replayed = replay(
            bag, options, tracker, out, force=arguments.force, read=read, progress=_show_progress
        )
        about = _about(bag, replayed)
        runs = [replayed.sequences.run(title, {**configuration, **about})]
        lines = _summary(bag, replayed, runs[0], bool(options.truths))
        if arguments.track:
            other = judge_recorded(replayed.sequences, tracks, bag.findings)
            name = f'track in {arguments.track.name}'
            runs.append(other.sequences.run(name, {'tracker': {'recorded': name}, **about}))
            lines += _comparison(name, other, runs[1])
        for line in (*lines, *map('note: {}'.format, bag.findings)):
            print(line)
        written = [str(out / name) for name in WRITTEN]
        judged = [run for run in runs if run is not None]
        if judged:
            # The bag must be open here: the report shows some of its images.
            frame = replayed.sequences.read_frame
            page = write_report(judged, out, f'Replay of {bag.name}', frame=frame)
            written += [str(page), str(page.with_suffix('.md'))]
            written.append(str(_write_scores(judged, list(bag.findings), out)))
        print(f'wrote {", ".join(written)}')
        if left_out := bag.findings.left_out:
            more = f'; and {len(left_out) - 1} more, see the notes' if len(left_out) > 1 else ''
            raise IncompleteError(f'{arguments.bag}: parts were left out: {left_out[0]}{more}')


def _write_scores(runs: list[Run], findings: list[str], out: Path) -> Path:
    """Write replay.json: the measures of each run, and the findings in the bag."""
    from hcat_ros.evaluation.bags.replay import SCORES

    content = {
        'runs': [
            {
                'title': run.title,
                # JSON has no NaN.
                'measures': {
                    name: value if np.isfinite(value) else None
                    for name, value in run.score.measures.items()
                },
                'images judged': _judged(run),
                'remarks': list(run.remarks),
                'configuration': run.configuration,
            }
            for run in runs
        ],
        'findings': findings,
    }
    path = out / SCORES
    write_text(path, json.dumps(content, indent=2))
    return path


def _draw(image: Image) -> Box:
    return drawn_box(image, 'hcat replay: drag a box, then Enter', '--select', '--box')


def _show_progress(frames: Iterable[BagFrame], total: int) -> Iterable[BagFrame]:
    # disable=None: no bar if stderr is not a terminal.
    bar: Iterable[BagFrame] = tqdm(frames, total=total, unit='image', disable=None)
    return bar


def _tracker(arguments: argparse.Namespace) -> tuple[Tracker, str, dict[str, Any]]:
    """Return the tracker, its title and its configuration."""
    from hcat_ros.evaluation.trackers import HcatSpec, parse_changes

    penalty = arguments.window_penalty
    changes = parse_changes(arguments.set)
    changes += () if penalty is None else (('window_penalty', penalty),)
    spec = HcatSpec(arguments.model, arguments.engine, arguments.precision, changes)
    make, description = spec.load(arguments.threads)
    tracker = make()
    assert isinstance(tracker, Tracker)
    return tracker, spec.title, {'tracker': description, 'threads': arguments.threads}


def _about(bag: Bag, replayed: Replayed) -> dict[str, Any]:
    from hcat_ros.evaluation.bags.follow import PROTOCOL
    from hcat_ros.evaluation.protocols import PROTOCOLS
    from hcat_ros.evaluation.runs import machine, versions

    data = {
        'bag': bag.path.name,
        'topic': replayed.topic.name,
        'type': replayed.topic.type,
        'images': replayed.images,
        'target named by': replayed.named_by,
    }
    return {
        'data': data,
        'protocol': PROTOCOLS[PROTOCOL].title,
        'versions': versions(),
        'machine': machine(),
    }


def _summary(bag: Bag, replayed: Replayed, run: Run | None, truth: bool) -> list[str]:
    """Return the lines of the summary."""
    _, results = replayed.sequences.results()
    lines = [
        f'{bag.name}: {replayed.images} of {replayed.topic.count} images on {replayed.topic.name}',
        f'targets: {len(results)}, named by {replayed.named_by}; followed, lost or not, on '
        f'{replayed.followed} images',
    ]
    if run is not None:
        lines.append(_measures(run))
    elif results:
        reason = 'it has no box on a tracked image' if truth else 'give it with --truth'
        lines.append(f'no truth to judge the track with: {reason}')
    seconds = np.concatenate([result.seconds[1:] for result in results] or [np.empty(0)])
    seconds = seconds[np.isfinite(seconds)]
    if len(seconds):
        median, slow = 1e3 * np.percentile(seconds, (50, 95))
        rate = 1 / seconds.mean()
        lines.append(f'{median:.1f} ms an image, 95 % within {slow:.1f} ms, {rate:.1f} a second')
    lines.append(describe_losses(results, replayed.sequences.numbers()))
    return lines


def describe_losses(results: Sequence[SequenceResult], numbers: Sequence[NDArray[np.int64]]) -> str:
    """Return a line with the number of images on which a target was lost, and the first spans.

    numbers: for each target, the numbers that its images have in the bag.
    """
    several = len(results) > 1
    lost = [
        f'{first}-{last}{f" (target {number})" if several else ""}'
        for number, pair in enumerate(zip(results, numbers), 1)
        for first, last in _lost_spans(*pair)
    ]
    count = sum(int(result.lost.sum()) for result in results)
    listed = ', '.join(lost[:MOST_SPANS])
    more = f' and {len(lost) - MOST_SPANS} more' if len(lost) > MOST_SPANS else ''
    return f'lost on {count} images{f": {listed}{more}" if lost else ""}'


def _measures(run: Run) -> str:
    measures = ', '.join(f'{name} {value:.3f}' for name, value in run.score.measures.items())
    return '; '.join([measures, f'{_judged(run)} images judged', *run.remarks])


def _judged(run: Run) -> int:
    return sum(int(np.isfinite(score.overlaps).sum()) for score in run.score.sequences)


def _comparison(name: str, other: Recorded, run: Run | None) -> list[str]:
    """Return the lines that compare a recorded track with the replay."""
    lines = [] if run is None else [f'{name}: {_measures(run)}']
    gap = f', boxes differ by at most {other.difference:.3g} px' if other.compared else ''
    return [*lines, f'{name}: {other.compared} images have a track in both{gap}']


def _lost_spans(result: SequenceResult, numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the first and last image of each span in which the target was lost."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], result.lost.astype(int), [0]])))
    return [(int(numbers[first]), int(numbers[end - 1])) for first, end in changes.reshape(-1, 2)]
