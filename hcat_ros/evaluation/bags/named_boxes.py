# SPDX-License-Identifier: Apache-2.0
"""The boxes that belong to a bag's images: init boxes, which name targets, and true boxes."""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bags.message_types import DETECTION, Topic
from hcat_ros.evaluation.bags.reading import Bag, BagFrame
from hcat_ros.files import read_text
from hcat_ros.message_data import best_class, box_of, nanoseconds
from hcat_ros.tracking.target_requests import STAMP_TOLERANCE

INIT_BOX = 'init_box'
"""Last part of the name of the topic of init boxes."""
TRUTH_TOLERANCE = 0.001
"""Largest difference between the stamps of an image and its true box, s: room for rounding."""
NO_BOX = np.full(4, np.nan)
AT_ONCE = -(2**63)
"""Time of recording of a box that starts on the first image, ns: before that of any image."""


class NamedBox(NamedTuple):
    """A box that names a target."""

    box: Box
    stamp: int
    """Stamp of the image on which the box was seen, ns; 0: the newest image at `log_time`."""
    log_time: int
    """Time of recording, ns."""
    class_id: str = ''
    number: int = 0
    """Number of the box among all init boxes, from 0; with several targets, also the index of its
    truth."""


class Start(Protocol):
    """Decides on which frames targets start, and in which boxes."""

    def take_boxes(self, frame: BagFrame, following: BagFrame | None) -> list[NamedBox]:
        """Return the boxes of the targets that start on a frame; each is returned once.

        Called for each frame that is used, in order, not for those that are passed over.
        following: the next frame of the bag, used or not; None after the last.
        """

    def unused(self) -> list[str]:
        """Return a sentence for each box that has started no target, with the reason."""


def named_boxes(bag: Bag, topic: Topic) -> list[NamedBox]:
    """Return the boxes of a Detection2D topic in the order of recording."""
    boxes: list[NamedBox] = []
    for _, log_time, message in bag.decode_topic(topic):
        stamp = nanoseconds(message.header.stamp)
        name = best_class(message)[0]
        boxes.append(NamedBox(box_of(message), stamp, log_time, name, len(boxes)))
    return boxes


def init_box_topic(bag: Bag, name: str = '') -> Topic | None:
    """Return the topic of init boxes, None if there is none. Raises ValueError."""
    if name:
        return bag.find_topic(name, DETECTION)
    found = [
        topic
        for topic in bag.topics.values()
        if topic.type == DETECTION and topic.count and topic.name.rpartition('/')[2] == INIT_BOX
    ]
    if len(found) > 1:
        listed = ', '.join(topic.name for topic in found)
        raise ValueError(f'{bag.path} has several topics of init boxes, name one: {listed}')
    return found[0] if found else None


class NamedStarts:
    """Starts targets as the node does: each box on the frame with the nearest stamp.

    A box without a stamp starts on the frame that was the newest when the box was recorded, or on
    the first frame if there was none yet.
    """

    def __init__(self, boxes: Sequence[NamedBox]) -> None:
        self._boxes = sorted(boxes, key=lambda box: box.log_time)

    def take_boxes(self, frame: BagFrame, following: BagFrame | None) -> list[NamedBox]:
        """See `Start`."""
        fitting = [box for box in self._boxes if _fits(box, frame, following)]
        self._boxes = [box for box in self._boxes if box not in fitting]
        return fitting

    def unused(self) -> list[str]:
        """See `Start`."""
        return [
            'box of the first image: no image was used'
            if box.log_time == AT_ONCE
            else f'box of {(box.stamp or box.log_time) / 1e9:.3f} s: no image that was used is '
            f'within {STAMP_TOLERANCE:g} s of it'
            for box in self._boxes
        ]


def _fits(box: NamedBox, frame: BagFrame, following: BagFrame | None) -> bool:
    if box.stamp == 0:
        return following is None or box.log_time < following.log_time
    missed = abs(box.stamp - frame.stamp)
    if missed > STAMP_TOLERANCE * 1e9:
        return False
    if following is None:
        return True
    if following.stamp < frame.stamp:
        # The following frame is late and will be skipped; a later one may fit a newer box better.
        return box.stamp <= frame.stamp
    return missed <= abs(box.stamp - following.stamp)


def start_at_once(*boxes: Box) -> Start:
    """Return a `Start` of these boxes, all on the first frame."""
    return NamedStarts(
        [NamedBox(box, 0, AT_ONCE, number=number) for number, box in enumerate(boxes)]
    )


class TruthStart:
    """Starts a target for each truth, on the first frame with a true box of 1 px a side or more."""

    def __init__(self, *truths: Truth) -> None:
        self._waiting = dict(enumerate(truths))

    def take_boxes(self, frame: BagFrame, following: BagFrame | None) -> list[NamedBox]:
        """See `Start`."""
        boxes = {number: truth.box_for(frame) for number, truth in self._waiting.items()}
        usable = [
            number
            for number, box in boxes.items()
            if np.isfinite(box).all() and (box[2:] >= 1).all()
        ]
        for number in usable:
            del self._waiting[number]
        return [
            NamedBox(Box(*boxes[number].tolist()), frame.stamp, frame.log_time, number=number)
            for number in usable
        ]

    def unused(self) -> list[str]:
        """See `Start`."""
        return ['the truth has no box for any image that could be used'] * len(self._waiting)


class Truth(Protocol):
    """The true boxes of a target."""

    def box_for(self, frame: BagFrame) -> NDArray[np.float64]:
        """Return the true box of an image, (4,) as x y w h, and mark it as used.

        NaN if the target is absent or its box is not known.
        """

    def unused(self) -> str:
        """Return a sentence about the boxes that belong to no image; '' if all belong to one."""


class StampedTruth:
    """True boxes by the stamp of their image."""

    def __init__(self, boxes: Mapping[int, Sequence[float]]) -> None:
        """boxes: stamp in nanoseconds to x, y, w, h."""
        self._stamps = sorted(boxes)
        self._boxes = {stamp: _box(values) for stamp, values in boxes.items()}
        self._used: set[int] = set()

    def box_for(self, frame: BagFrame) -> NDArray[np.float64]:
        """See `Truth`."""
        place = bisect_left(self._stamps, frame.stamp)
        near = self._stamps[max(place - 1, 0) : place + 1]
        stamp = min(near, key=lambda stamp: abs(stamp - frame.stamp), default=None)
        if stamp is None or abs(stamp - frame.stamp) > TRUTH_TOLERANCE * 1e9:
            return NO_BOX
        self._used.add(stamp)
        return self._boxes[stamp]

    def unused(self) -> str:
        """See `Truth`."""
        return _unused(self._boxes, self._used, f'no image within {1e3 * TRUTH_TOLERANCE:g} ms')


class IndexedTruth:
    """True boxes by the number of their image's message on its topic, from 0."""

    def __init__(self, boxes: Mapping[int, Sequence[float]]) -> None:
        """boxes: number to x, y, w, h."""
        self._boxes = {number: _box(values) for number, values in boxes.items()}
        self._used: set[int] = set()

    def box_for(self, frame: BagFrame) -> NDArray[np.float64]:
        """See `Truth`."""
        self._used.add(frame.index)
        return self._boxes.get(frame.index, NO_BOX)

    def unused(self) -> str:
        """See `Truth`."""
        return _unused(self._boxes, self._used, 'no image of that number')


def _unused(boxes: Mapping[int, NDArray[np.float64]], used: set[int], reason: str) -> str:
    left = [place for place in boxes if place not in used and np.isfinite(boxes[place]).all()]
    return f'{len(left)} of {len(boxes)} true boxes were not used: {reason}' if left else ''


def _box(values: Sequence[float]) -> NDArray[np.float64]:
    box = np.asarray(values, np.float64)
    # Some programs write an absent target as a box of no size.
    return box if np.isfinite(box).all() and (box[2:] > 0).all() else NO_BOX


def truth_from(bag: Bag, source: str, images: Topic) -> Truth:
    """Read the truth for images from a Detection2D topic or a file. Raises ValueError, OSError.

    The boxes of a topic belong to the images with the same stamps. If stamps repeat, they belong to
    the images in order if there is one box per image, or else to the images recorded nearest in
    time. A file has one row per image: `x y w h` in the order of the images, or `stamp x y w h`, or
    the columns that its first line names: stamp or frame, x, y, w, h. Stamps are whole nanoseconds,
    or seconds with a decimal point; frames are numbers of images from 0. The box of an absent
    target is NaN or has no size.
    """
    if not Path(source).is_file():
        if source not in bag.topics and f'/{source}' not in bag.topics:
            raise ValueError(f'truth {source}: there is no such file, nor such a topic in the bag')
        return _truth_of_topic(bag, bag.find_topic(source, DETECTION), images)
    truth = read_truth(Path(source))
    stamps = [stamp for stamp, _ in bag.times(images)]
    if isinstance(truth, StampedTruth) and len(set(stamps)) < len(stamps) / 2:
        raise ValueError(
            f'truth {source} gives boxes by stamp, but the {len(stamps)} images have only '
            f'{len(set(stamps))} different stamps: give boxes by image number in a column frame'
        )
    return truth


def _truth_of_topic(bag: Bag, topic: Topic, images: Topic) -> Truth:
    boxes = [
        (nanoseconds(message.header.stamp), log_time, box_of(message))
        for _, log_time, message in bag.decode_topic(topic)
    ]
    times = bag.times(images)
    if _all_differ(stamp for stamp, _, _ in boxes) and _all_differ(stamp for stamp, _ in times):
        return StampedTruth({stamp: box for stamp, _, box in boxes})
    if len(boxes) == len(times):
        bag.findings.note(f'stamps repeat: the boxes of {topic.name} belong to images in order')
        return IndexedTruth({number: box for number, (_, _, box) in enumerate(boxes)})
    bag.findings.note(
        f'stamps repeat: the boxes of {topic.name} belong to images by time of recording'
    )
    recorded = np.array([log_time for _, log_time in times], np.int64)
    # A box belongs to no image if the nearest image is more than half an image interval away.
    apart = float(np.median(np.diff(np.sort(recorded)))) if len(recorded) > 1 else np.inf
    found: dict[int, Box] = {}
    for _, log_time, box in boxes:
        number = int(np.abs(recorded - log_time).argmin()) if len(recorded) else -1
        if number >= 0 and abs(int(recorded[number]) - log_time) <= apart / 2:
            found[number] = box
    return IndexedTruth(found)


def _all_differ(stamps: Iterable[int]) -> bool:
    listed = list(stamps)
    return len(set(listed)) == len(listed)


def read_truth(path: Path) -> Truth:
    """Read the truth from a file; see `truth_from`. Raises OSError; ValueError with the line."""
    rows = list(_table(path))
    if not rows:
        raise ValueError(f'{path} holds no box')
    first = [field.strip().lower() for field in rows[0][1]]
    columns = {name: place for place, name in enumerate(first)}
    if all(name in columns for name in 'xywh'):
        key = next((name for name in ('stamp', 'frame') if name in columns), '')
        rows = rows[1:]
    else:
        names = {4: ('x', 'y', 'w', 'h'), 5: ('stamp', 'x', 'y', 'w', 'h')}.get(len(first))
        if names is None:
            raise ValueError(
                f'{path}: expected x y w h, or stamp x y w h, or a first line that names columns, '
                f'got {len(first)} columns'
            )
        columns = {name: place for place, name in enumerate(names)}
        key = 'stamp' if 'stamp' in columns else ''
    boxes: dict[int, list[float]] = {}
    for number, (line, row) in enumerate(rows):
        try:
            box = [float(row[columns[name]]) for name in 'xywh']
            place = row[columns[key]] if key else str(number)
            place_number = _nanoseconds(place) if key == 'stamp' else int(place)
        except (ValueError, IndexError, ArithmeticError):
            expected = ', '.join(([key] if key else []) + list('xywh'))
            raise ValueError(
                f'{path}, line {line}: expected {expected}, got {",".join(row)[:80]}'
            ) from None
        if place_number in boxes:
            raise ValueError(f'{path}, line {line}: {key} {place} occurs twice')
        boxes[place_number] = box
    return StampedTruth(boxes) if key == 'stamp' else IndexedTruth(boxes)


def _table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each line, without empty lines and comments.

    Fields are separated by commas, semicolons, tabs or spaces.
    """
    for number, line in enumerate(read_text(path).splitlines(), 1):
        text = line.strip().replace(';', ',')
        if not text or text.startswith('#'):
            continue
        try:
            yield number, next(csv.reader([text])) if ',' in text else text.split()
        except csv.Error as error:  # a field that is longer than csv accepts
            raise ValueError(f'{path}, line {number}: {error}') from None


def _nanoseconds(text: str) -> int:
    """Parse a stamp: a whole number of nanoseconds, or seconds with a decimal point."""
    text = text.strip()
    # As a float, seconds since 1970 are exact to 0.2 microseconds only.
    number = Decimal(text) * 10**9 if set(text) & set('.eE') else Decimal(int(text))
    if not abs(number) < 1 << 63:
        raise ValueError(f'stamp {text[:80]}: expected nanoseconds that fit into 64 bits')
    return int(number)
