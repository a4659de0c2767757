# SPDX-License-Identifier: Apache-2.0
"""A replay from end to end: a bag goes in, a bag with the tracks and a table come out."""

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
"""The files of a replay. Its folder is a rosbag2."""
SCORES = 'replay.json'
"""File of the measures, for programs."""
JUDGEMENT = ('report.html', 'report.md', SCORES)
"""The files that `hcat replay` adds where a track is judged by a truth."""


@dataclass(frozen=True)
class Options:
    """What is replayed, and how."""

    image: str = ''
    """Topic; empty: the only one with pictures."""
    boxes: tuple[Box, ...] = ()
    """Targets in the first image."""
    draw: Callable[[Image], Box] | None = None
    """Returns the target in the first image, BGR."""
    init_box_topic: str = ''
    """Topic that names targets; empty: one called init_box, if the bag has it."""
    truths: tuple[str, ...] = ()
    """Topics or files with true boxes, see `truth_from`; of several targets one for each, in the
    order in which they are named."""
    start: float = 0.0
    """Seconds from the first image that are passed over."""
    mono16_bits: int = 16
    """How many bits of a mono16 pixel the sensor fills."""
    max_targets: int = 1
    """Targets that are followed at once, 1 to 16; with 1 a new one takes the old one's place."""

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
    """What became of a replay."""

    topic: Topic
    named_by: str
    """Source that named the target."""
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
    """Follow the target through a bag and write into the folder `out`: see `WRITTEN`.

    force: whether the files of an earlier replay are replaced; its `JUDGEMENT` is then removed, as
    it is not about the new tracks. read: other bags and files that the caller reads; like the bag
    and the truths they are never written over. progress: passes images on and shows how far it is.
    What was not as it should be is in `bag.findings`. Raises ValueError for options that do not fit
    the bag, and without any image; OSError, EngineError. Files are there whole or not at all.
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
        raise ValueError(f'{bag.path}: no image on {topic.name} could be used: {reasons}')
    for truth in truths:
        if unused := truth.unused():
            bag.findings.note(unused)
    if bag.is_damaged and any(isinstance(truth, IndexedTruth) for truth in truths):
        bag.findings.note(
            'the truth goes by the number of the image: behind images that are missing it belongs '
            'to others; give it by stamp'
        )
    return Replayed(topic, named_by, sequences, images, followed)


def _write(passing: Iterator[Followed], sequences: Sequences, out: Path) -> tuple[int, int]:
    """Write what comes; return the number of images and of those with a target."""
    made = not out.exists()
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
        if made and not any(out.iterdir()):
            with suppress(OSError):
                out.rmdir()
    return len(images), followed


def _check_free(out: Path, bag: Path, read: Sequence[Path], force: bool) -> None:
    """Raise ValueError where writing would destroy what is read, or what no replay has written."""
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
    """Yield the frames from so many seconds after the first one on."""
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
        """See `Start`. Raises what drawing raises."""
        if self._draw is None:
            return []
        box = self._draw(to_bgr(frame.image, frame.encoding))
        self._draw = None
        return [NamedBox(box, frame.stamp, frame.log_time)]

    def unused(self) -> list[str]:
        """See `Start`."""
        return []


def _start(bag: Bag, options: Options, truths: Sequence[Truth]) -> tuple[Start, str]:
    """Return where targets start, and what says so. Raises ValueError."""
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
