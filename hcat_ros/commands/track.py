# SPDX-License-Identifier: Apache-2.0
"""Track one target or several through a video, an image folder or a camera."""

from __future__ import annotations

import argparse
import contextlib
import csv
import logging
import time
from pathlib import Path

import cv2
from tqdm import tqdm

from hcat_ros.boxes import Box
from hcat_ros.commands.ending import IncompleteError
from hcat_ros.commands.window import drawn_box, no_window
from hcat_ros.drawing import draw_track
from hcat_ros.engines import ENGINES, load_engine
from hcat_ros.files import check_outputs, printable, whole_rows
from hcat_ros.files.videos import whole_video
from hcat_ros.frames import FrameSource
from hcat_ros.models import DEFAULT_MODEL, load_model
from hcat_ros.tracking import TargetState, Track, Tracker, TrackerConfig
from hcat_ros.tracking.encodings import Image
from hcat_ros.tracking.followed_target import FollowedTarget, settle_claims
from hcat_ros.tracking.target_requests import TargetRequest

WINDOW = 'hcat track: q or Esc ends'
INSTEAD = '--box and --out'
COLUMNS = ('frame', 'time_s', 'x', 'y', 'w', 'h', 'score', 'state')

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('video', help='video file, folder of images, camera number or device')
    parser.add_argument(
        '--box',
        nargs=4,
        type=float,
        action='append',
        metavar=('X', 'Y', 'W', 'H'),
        help='init box in the first frame, pixels; repeat it for each of several targets. With '
        '--show a box can be drawn instead',
    )
    parser.add_argument(
        '--start',
        type=int,
        default=0,
        metavar='N',
        help='first frame to track; frame numbers are counted from it',
    )
    parser.add_argument('--show', action='store_true', help='show the video while it is tracked')
    parser.add_argument('--out', type=Path, metavar='MP4', help='write an annotated video')
    parser.add_argument(
        '--csv', type=Path, metavar='CSV', help='write a line for each frame and target'
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


def run(arguments: argparse.Namespace) -> None:
    """Track the targets and write the requested files.

    Raises ValueError, OSError, EngineError; IncompleteError, at the end, for frames left out.
    """
    if arguments.box is None and not arguments.show:
        raise ValueError('name the target with --box X Y W H, or draw it with --show')
    model = load_model(arguments.model)
    check_outputs((arguments.out, arguments.csv), (arguments.video, model.folder))
    source = FrameSource(arguments.video, start=arguments.start)
    settings = dict(model.card.tracking)
    if arguments.window_penalty is not None:
        settings['window_penalty'] = arguments.window_penalty
    config = TrackerConfig(**settings)
    engine = load_engine(model, arguments.engine, arguments.precision, arguments.threads)
    trackers = [Tracker(engine, config) for _ in arguments.box or [None]]
    with contextlib.closing(source):
        frames, fitted, busy = _track(source, trackers, arguments)
    if frames == 0:
        raise ValueError(
            f'camera {arguments.video} sent no frame; check whether another program uses it'
        )
    if frames > 1:
        card = engine.card
        print(
            f'{frames} frames, {1e3 * busy / (frames - 1):.1f} ms a frame with {card.model} in '
            f'{card.runtime} {card.runtime_version} ({card.precision})'
        )
    for path in (arguments.out, arguments.csv):
        if path:
            print(f'wrote {path}')
    if fitted:
        _log.warning(
            f'{fitted} frames of another size than the first were fitted into {arguments.out}'
        )
    if source.remarks:
        raise IncompleteError(f'{arguments.video}: {"; ".join(source.remarks)}')


def _track(
    source: FrameSource, trackers: list[Tracker], arguments: argparse.Namespace
) -> tuple[int, int, float]:
    """Track through a source and write the files.

    Returns the number of frames, the number of frames that were fitted into the video, and the
    seconds spent in updates.
    """
    busy, frames = 0.0, 0
    targets: list[FollowedTarget] = []
    several = len(trackers) > 1
    with contextlib.ExitStack() as stack:
        rows = video = None
        # disable=None: no bar if stderr is not a terminal.
        bar = stack.enter_context(tqdm(total=source.count or None, unit='frame', disable=None))
        for frame in source:
            start = time.perf_counter()
            if frames == 0:
                boxes = arguments.box or [drawn_box(frame.image, WINDOW, '--show', INSTEAD)]
                for number, (tracker, box) in enumerate(zip(trackers, boxes), 1):
                    tracker.init(frame.image, box)
                    request = TargetRequest(Box(*box), 0, '')
                    targets.append(FollowedTarget(tracker, request, str(number)))
                    targets[-1].record(Track(Box(*box), 1.0, TargetState.TRACKING))
                # The files are opened only after the boxes have been accepted.
                if arguments.csv:
                    rows = csv.writer(stack.enter_context(whole_rows(arguments.csv)))
                    rows.writerow((*COLUMNS, *(['target'] if several else [])))
                if arguments.out:
                    video = stack.enter_context(whole_video(arguments.out, source.fps))
            else:
                for target in targets:
                    target.record(target.tracker.update(frame.image))
                settle_claims(targets, targets)
                busy += time.perf_counter() - start
            frames += 1
            tracks = [target.named_track() for target in targets]
            if rows:
                for one in tracks:
                    row = _row(frame.index, frame.time, one.track)
                    rows.writerow([*row, *([one.target_id] if several else [])])
            if video or arguments.show:
                image = frame.image.copy()
                for one in tracks:
                    name = one.target_id if several else ''
                    draw_track(image, one.track, f'frame {frame.index}', name)
                if video:
                    video.write(image)
                if arguments.show and not _show(image):
                    break
            bar.set_postfix(score=f'{tracks[0].track.score:.2f}', refresh=False)
            bar.update()
    if video:
        _compare_durations(arguments.out, frame.time, (frames - 1) / source.fps, source.fps)
    return frames, video.fitted if video else 0, busy


def _compare_durations(out: Path, lasted: float, plays: float, fps: float) -> None:
    """Warn if the written video, which has a constant rate, plays faster or slower than its source.

    lasted, plays: time of the last frame in the source and in the video, s. So it is with a frame
    rate that varies, missing frames, and a camera that is slower than it states.
    """
    if abs(lasted - plays) > max(0.5, 0.1 * lasted):
        _log.warning(
            f'{printable(out)} plays {plays:.1f} s for {lasted:.1f} s of the source: it has a '
            f'constant {fps:g} frames per second; --csv writes the time of each frame'
        )


def _row(index: int, seconds: float, track: Track) -> list[str]:
    numbers = [f'{value:.3f}' for value in (seconds, *track.box)]
    return [str(index), *numbers, f'{track.score:.4f}', track.state.value]


def _show(image: Image) -> bool:
    """Show a frame; return False if the user pressed q or Esc."""
    try:
        cv2.imshow(WINDOW, image)
        return cv2.waitKey(1) & 0xFF not in (ord('q'), 27)
    except cv2.error as error:
        raise no_window(error, '--show', INSTEAD) from error
