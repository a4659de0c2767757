# SPDX-License-Identifier: Apache-2.0
"""Make training clips from unlabelled video: targets that teachers track forward and back."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from tqdm import tqdm

from hcat_ros.commands.ending import IncompleteError
from hcat_ros.files import check_outputs, load_json, write_text
from hcat_ros.frames import FrameSource
from hcat_ros.tracking.encodings import Image

if TYPE_CHECKING:
    from hcat_ros.training.pseudo_labels import LabelConfig
    from hcat_ros.training.teachers import Committee

DONE_FILE = 'labelled.json'
"""File that lists the finished videos with the number of their clips."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('videos', nargs='+', type=Path, help='video files or folders of images')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder of clips')
    parser.add_argument(
        '--run', type=Path, required=True, metavar='YAML', help='run file that names the teachers'
    )
    parser.add_argument('--rate', type=float, default=10.0, help='frames per second to keep')
    parser.add_argument('--length', type=int, default=60, help='frames per span')
    parser.add_argument('--targets', type=int, default=3, help='targets to try per span')


def run(arguments: argparse.Namespace) -> None:
    """Write the clips of all videos that are not done yet.

    A video that cannot be read is reported and left out. Raises ValueError, OSError;
    IncompleteError, at the end, for videos and frames that were left out.
    """
    try:
        from hcat_ros.training.config import load_config
        from hcat_ros.training.pseudo_labels import LabelConfig
        from hcat_ros.training.teachers import Committee, load_teacher
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[export]'") from error
    if not arguments.rate > 0:
        raise ValueError(f'--rate {arguments.rate:g}: expected above 0')
    config = LabelConfig(length=arguments.length, targets=arguments.targets)
    teachers = load_config(arguments.run).teachers
    if not teachers:
        raise ValueError(f'{arguments.run} names no teachers')
    committee = Committee([load_teacher(teacher) for teacher in teachers])
    check_outputs((arguments.out,), arguments.videos)
    arguments.out.mkdir(parents=True, exist_ok=True)
    done = _read_done(arguments.out)
    left_out = []
    for video in tqdm(arguments.videos, unit='video', disable=None):
        name = os.path.realpath(video)  # unlike resolve(), no error for a loop of links
        if name in done:
            continue
        try:
            source = _open(video)
            count, remarks = _label(source, arguments.out, committee, config, arguments.rate)
        except ValueError as error:
            tqdm.write(f'left out: {error}')
            left_out.append(str(error))
            continue
        done[name] = count
        left_out += [f'{video}: {remark}' for remark in remarks]
        _write_done(arguments.out, done)
        tqdm.write(f'{video}: {done[name]} clips')
    print(f'{sum(done.values())} clips of {len(done)} videos in {arguments.out}')
    if left_out:
        raise (IncompleteError if done else ValueError)('; '.join(left_out))


def _open(video: Path) -> FrameSource:
    """Open a video. Raises ValueError, also for an OSError: OSErrors of the output end the run."""
    try:
        return FrameSource(str(video))
    except OSError as error:
        raise ValueError(str(error)) from error


def _label(
    source: FrameSource, out: Path, committee: Committee, config: LabelConfig, rate: float
) -> tuple[int, list[str]]:
    """Write the clips of a video; return their number and messages about frames left out."""
    from hcat_ros.training.pseudo_labels import follow_both_ways, propose_targets, write_clip

    count = 0
    video = Path(source.source)
    # The digest tells videos with the same name apart, such as the folders `img` of many data sets.
    path_digest = hashlib.sha256(os.fsencode(video.resolve())).hexdigest()[:6]
    for start, frames in _spans(source, config, rate):
        rng = np.random.default_rng(start)
        second = frames[min(2, len(frames) - 1)]
        for number, box in enumerate(propose_targets(frames[0], second, rng, config.targets)):
            clip = out / f'{video.stem}_{path_digest}_{start:06d}_{number}'
            if not clip.is_dir():
                span = follow_both_ways(committee, frames, box, config)
                if span is None:
                    continue
                write_clip(clip, frames[: len(span.boxes)], span.boxes)
            count += 1
    return count, source.remarks


def _spans(
    source: FrameSource, config: LabelConfig, rate: float
) -> Iterator[tuple[int, list[Image]]]:
    """Yield each span's first frame number and reduced frames; close `source` at the end."""
    from hcat_ros.training.pseudo_labels import reduce_size

    step = max(1, round(source.fps / rate))
    span: list[Image] = []
    first = 0
    try:
        for frame in source:
            if frame.index % step:
                continue
            # A cut ends a span, because no target can be followed across it.
            image = reduce_size(frame.image, config.longest_side)
            if span and (len(span) == config.length or _is_cut(span[-1], image)):
                if len(span) >= config.shortest:
                    yield first, span
                span = []
            if not span:
                first = frame.index
            span.append(image)
    finally:
        source.close()
    if len(span) >= config.shortest:
        yield first, span


def _is_cut(before: Image, after: Image) -> bool:
    """Return whether the colours of two images differ so much that the scene has changed."""
    one, other = (
        cv2.calcHist([image], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3) for image in (before, after)
    )
    return bool(cv2.compareHist(one, other, cv2.HISTCMP_CORREL) < 0.6)


def _read_done(out: Path) -> dict[str, int]:
    path = out / DONE_FILE
    if not path.is_file():
        return {}
    try:
        return {str(name): int(count) for name, count in load_json(path).items()}
    except (ValueError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f'{path} is damaged ({error}); delete it') from error


def _write_done(out: Path, done: dict[str, int]) -> None:
    write_text(out / DONE_FILE, json.dumps(done, indent=1))
