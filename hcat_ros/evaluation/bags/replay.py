# SPDX-License-Identifier: Apache-2.0
"""A replay from end to end: it reads a bag and writes the tracks as a bag and as a table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bags.follow import Followed, Sequences, follow
from hcat_ros.evaluation.bags.message_types import Topic
from hcat_ros.evaluation.bags.named_boxes import (
    INIT_BOX,
    IndexedTruth,
    NamedBox,
    NamedStarts,
    Start,
    Truth,
    TruthStart,
    init_box_topic,
    named_boxes,
    start_at_once,
    truth_from,
)
from hcat_ros.evaluation.bags.output import COLUMNS, TrackBag, TrackTable
from hcat_ros.evaluation.bags.reading import METADATA, Bag, BagFrame
from hcat_ros.files import check_outputs, scratch_folder
from hcat_ros.tracking import Tracker
from hcat_ros.tracking.encodings import Image, to_bgr

BAG, TABLE = 'track', 'track.csv'
WRITTEN = (f'{BAG}.mcap', TABLE, METADATA)
"""Files that a replay writes. Their folder is a rosbag2."""
SCORES = 'replay.json'
"""File of the measures, for programs."""
JUDGEMENT = ('report.html', 'report.md', SCORES)
"""Files that `hcat replay` adds if there is a truth to score the track by."""


@dataclass(frozen=True)
class Options:
    """The settings of a replay."""

    image: str = ''
    """Image topic; empty: the only topic with pictures."""
    boxes: tuple[Box, ...] = ()
    """Boxes of the targets in the first image."""
    draw: Callable[[Image], Box] | None = None
    """Function that returns the box of the target in the first image, BGR."""
    init_box_topic: str = ''
    """Topic of init boxes; empty: a topic called init_box, if the bag has one."""
    truths: tuple[str, ...] = ()
    """Topics or files with true boxes, see `truth_from`; with several targets, one for each in the
    order in which they are named."""
    start: float = 0.0
    """Time from the first image on that is skipped, s."""
    mono16_bits: int = 16
    """Number of bits of a mono16 pixel that the sensor fills."""
    max_targets: int = 1
    """Largest number of targets that are followed at once, 1 to 16; if it is 1, a new target
    replaces the old one."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_targets <= 16:
            raise ValueError(f'max_targets {self.max_targets}: expected 1 to 16')
        for name in ('boxes', 'truths'):
            count = len(getattr(self, name))
            if count > self.max_targets:
                raise ValueError(
                    f'{count} {name}, but max_targets is {self.max_targets}: raise it '
                    '(--max-targets), or leave some out'
                )


class Replayed(NamedTuple):
    """The result of a replay."""

    topic: Topic
    named_by: str
    """Source of the init boxes, in words."""
    sequences: Sequences
    images: int
    """Number of images that were read."""
    followed: int
    """Number of images with a target."""


def replay(
    bag: Bag,
    options: Options,
    tracker: Tracker,
    out: Path,
    *,
    force: bool = False,
    read: Sequence[Path] = (),
    progress: Callable[[Iterable[BagFrame], int], Iterable[BagFrame]] = lambda frames, _: frames,
) -> Replayed:
    """Follow the target through a bag and write the files `WRITTEN` into the folder `out`.

    force: whether the files of an earlier replay are replaced; its `JUDGEMENT` is then removed,
    because it is about the old tracks. read: other bags and files that the caller reads; like the
    bag and the truths, they are never overwritten. progress: wraps the images, given their number,
    in a progress bar. Problems are collected in `bag.findings`. Raises ValueError for options that
    do not fit the bag, and if no image can be used; OSError, EngineError. An error leaves no
    incomplete files.
    """
    _check_free(out, bag.path, (*map(Path, options.truths), *read), force)
    topic = bag.image_topic(options.image)
    truths = [truth_from(bag, source, topic) for source in options.truths]
    start, named_by = _start(bag, options, truths)
    frames = progress(_frames(bag, topic, options), topic.count)
    passing = follow(tracker, frames, start, truths, bag.findings, options.max_targets)
    sequences = Sequences(bag, topic, options.mono16_bits)
    images, followed = _write(passing, sequences, out)
    if images == 0:
        reasons = '; '.join(bag.findings.left_out) or 'the topic has none'
        begin = f' from {options.start:g} s on' if options.start else ''
        raise ValueError(f'{bag.path}: no image on {topic.name}{begin} could be used: {reasons}')
    for truth in truths:
        if unused := truth.unused():
            bag.findings.note(unused)
    if bag.is_damaged and any(isinstance(truth, IndexedTruth) for truth in truths):
        bag.findings.note(
            'the truth gives boxes by image number, so after missing images its boxes belong to '
            'other images; give boxes by stamp'
        )
    return Replayed(topic, named_by, sequences, images, followed)


def _write(passing: Iterator[Followed], sequences: Sequences, out: Path) -> tuple[int, int]:
    """Write the answers; return the number of images and of images with a target."""
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    images, followed = set(), 0
    try:
        with scratch_folder('replay', out) as folder, ExitStack() as stack:
            partial = folder / BAG
            written = stack.enter_context(TrackBag(partial))
            table = stack.enter_context(TrackTable(partial / TABLE))
            for index, group in itertools.groupby(passing, lambda one: one.frame.index):
                answers = list(group)
                for one in answers:
                    sequences.add(one)
                    table.write(one)
                written.write(answers)
                images.add(index)
                followed += any(one.track is not None for one in answers)
            stack.close()
            if images:
                for name in JUDGEMENT:
                    (out / name).unlink(missing_ok=True)
                for name in WRITTEN:
                    (partial / name).replace(out / name)
    finally:
        if is_new and not any(out.iterdir()):
            with suppress(OSError):
                out.rmdir()
    return len(images), followed


def _check_free(out: Path, bag: Path, read: Sequence[Path], force: bool) -> None:
    """Raise ValueError if writing would destroy an input, or a file that is not of a replay."""
    if out.resolve() in (bag.resolve(), bag.resolve().parent if bag.is_file() else None):
        raise ValueError(f'--out {out} is where the bag lies; name another folder')
    files = (*WRITTEN, *JUDGEMENT)
    check_outputs((out, *(out / name for name in files)), read)
    there = [name for name in files if (out / name).exists()]
    if not there:
        return
    if not force:
        raise ValueError(
            f'{out} holds {" and ".join(there)} already: name another folder with --out, or '
            'replace it with --force'
        )
    try:
        with (out / TABLE).open(encoding='utf-8', errors='replace') as file:
            ours = file.readline().strip() == ','.join(COLUMNS)
    except OSError:
        ours = False
    if not ours:
        raise ValueError(f'{out} holds {" and ".join(there)}, but is not the folder of a replay')


def _frames(bag: Bag, topic: Topic, options: Options) -> Iterator[BagFrame]:
    """Yield the frames from `options.start` seconds after the first one."""
    first: int | None = None
    for frame in bag.frames(topic, options.mono16_bits):
        first = frame.log_time if first is None else first
        if frame.log_time - first >= options.start * 1e9:
            yield frame


class DrawnStart:
    """Starts on the first image, in the box that the user draws there."""

    def __init__(self, draw: Callable[[Image], Box]) -> None:
        self._draw: Callable[[Image], Box] | None = draw

    def take_boxes(self, frame: BagFrame, following: BagFrame | None) -> list[NamedBox]:
        """See `Start`. Raises the exceptions of `draw`."""
        if self._draw is None:
            return []
        box = self._draw(to_bgr(frame.image, frame.encoding))
        self._draw = None
        return [NamedBox(box, frame.stamp, frame.log_time)]

    def unused(self) -> list[str]:
        """See `Start`."""
        return []


def _start(bag: Bag, options: Options, truths: Sequence[Truth]) -> tuple[Start, str]:
    """Return the start of targets, and the source of their boxes in words. Raises ValueError."""
    if options.boxes:
        return start_at_once(*options.boxes), '--box'
    if options.draw is not None:
        return DrawnStart(options.draw), 'the box drawn'
    boxes = init_box_topic(bag, options.init_box_topic)
    if boxes is not None:
        return NamedStarts(named_boxes(bag, boxes)), boxes.name
    if truths:
        return TruthStart(*truths), 'the first true box'
    raise ValueError(
        f'{bag.path} has no topic {INIT_BOX} of vision_msgs/msg/Detection2D: name the target with '
        '--box X Y W H or --init-box-topic TOPIC, draw it with --select, or give the truth'
    )
