# SPDX-License-Identifier: Apache-2.0
"""Track a target through a video, an image folder or a camera."""

from __future__ import annotations

import argparse
import contextlib
import csv
import time
from pathlib import Path

import cv2
from tqdm import tqdm

from hcat_ros.boxes import Box
from hcat_ros.commands.window import drawn_box, no_window
from hcat_ros.drawing import draw_track
from hcat_ros.engines import ENGINES, load_engine
from hcat_ros.frames import FrameSource
from hcat_ros.models import DEFAULT_MODEL, load_model
from hcat_ros.tracking import TargetState, Track, Tracker, TrackerConfig
from hcat_ros.tracking.encodings import Image

WINDOW = 'hcat track: q or Esc ends'
INSTEAD = '--box and --out'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('video', help='video file, folder of images, camera number or device')
    parser.add_argument(
        '--box',
        nargs=4,
        type=float,
        metavar=('X', 'Y', 'W', 'H'),
        help='the target in the first frame, pixels; with --show it can be drawn instead',
    )
    parser.add_argument('--show', action='store_true', help='show the video while it is tracked')
    parser.add_argument('--out', type=Path, metavar='MP4', help='write an annotated video')
    parser.add_argument('--csv', type=Path, metavar='CSV', help='write a line for every frame')
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name or folder of a model')
    parser.add_argument('--engine', default='auto', choices=['auto', *ENGINES])
    parser.add_argument(
        '--precision', default='auto', help='fp32: float; auto: int8 where the card accepts it'
    )
    parser.add_argument('--threads', type=int, default=0, help='CPU threads, 0: one a core')
    parser.add_argument('--window-penalty', type=float, help="0 to 1; the model's own unless given")


def run(arguments: argparse.Namespace) -> None:
    """Track and write what was asked for. Raises ValueError, OSError, EngineError."""
    if arguments.box is None and not arguments.show:
        raise ValueError('name the target with --box X Y W H, or draw it with --show')
    source = FrameSource(arguments.video)
    model = load_model(arguments.model)
    settings = dict(model.card.tracking)
    if arguments.window_penalty is not None:
        settings['window_penalty'] = arguments.window_penalty
    config = TrackerConfig(**settings)
    engine = load_engine(model, arguments.engine, arguments.precision, arguments.threads)
    tracker = Tracker(engine, config)
    busy = 0.0
    frames = 0
    with contextlib.ExitStack() as stack:
        stack.callback(source.close)
        rows = None
        video = _Mp4(arguments.out, source.fps, stack) if arguments.out else None
        # disable=None: no bar where stderr is no terminal.
        bar = stack.enter_context(tqdm(total=source.count or None, unit='frame', disable=None))
        for frame in source:
            start = time.perf_counter()
            if frame.index == 0:
                box = arguments.box or drawn_box(frame.image, WINDOW, '--show', INSTEAD)
                tracker.init(frame.image, box)
                track = Track(Box(*box), 1.0, TargetState.TRACKING)
                # Not before the box has proved usable: an old file is kept until then.
                rows = _csv_writer(arguments.csv, stack) if arguments.csv else None
            else:
                track = tracker.update(frame.image)
                busy += time.perf_counter() - start
            frames += 1
            if rows:
                rows.writerow(_row(frame.index, frame.time, track))
            if video or arguments.show:
                image = frame.image.copy()
                draw_track(image, track, f'frame {frame.index}')
                if video:
                    video.write(image)
                if arguments.show and not _shown(image):
                    break
            bar.set_postfix(score=f'{track.score:.2f}', refresh=False)
            bar.update()
    if frames == 0:
        raise ValueError(f'{arguments.video} gave no frame')
    if frames > 1:
        card = engine.card
        print(
            f'{frames} frames, {1e3 * busy / (frames - 1):.1f} ms a frame with {card.model} in '
            f'{card.runtime} {card.runtime_version} ({card.precision})'
        )
    for path in (arguments.out, arguments.csv):
        if path:
            print(f'wrote {path}')


def _row(index: int, seconds: float, track: Track) -> list[str]:
    numbers = [f'{value:.3f}' for value in (seconds, *track.box)]
    return [str(index), *numbers, f'{track.score:.4f}', track.state.value]


def _csv_writer(path: Path, stack: contextlib.ExitStack) -> csv._writer:  # type: ignore[name-defined]
    writer = csv.writer(stack.enter_context(path.open('w', newline='', encoding='utf-8')))
    writer.writerow(['frame', 'time_s', 'x', 'y', 'w', 'h', 'score', 'state'])
    return writer


class _Mp4:
    """Writes BGR frames; the file is opened when the first frame tells its size."""

    def __init__(self, path: Path, fps: float, stack: contextlib.ExitStack) -> None:
        if not path.parent.is_dir():
            raise ValueError(f'cannot write {path}: no folder {path.parent}')
        self.path, self.fps, self.stack = path, fps, stack
        self.writer: cv2.VideoWriter | None = None

    def write(self, image: Image) -> None:
        if self.writer is None:
            size = (image.shape[1], image.shape[0])
            fourcc = cv2.VideoWriter.fourcc(*'mp4v')
            self.writer = cv2.VideoWriter(str(self.path), fourcc, self.fps, size)
            self.stack.callback(self.writer.release)
            if not self.writer.isOpened():
                raise ValueError(f'OpenCV cannot write {self.path}; name a file ending in .mp4')
        self.writer.write(image)


def _shown(image: Image) -> bool:
    """Show a frame; False when the user wants to end."""
    try:
        cv2.imshow(WINDOW, image)
        return cv2.waitKey(1) & 0xFF not in (ord('q'), 27)
    except cv2.error as error:
        raise no_window(error, '--show', INSTEAD) from error
