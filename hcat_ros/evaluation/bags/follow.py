# SPDX-License-Identifier: Apache-2.0
"""A tracker on a bag's images: every one, in order, as the node has them that drops none."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import iou
from hcat_ros.evaluation.bags.findings import Findings
from hcat_ros.evaluation.bags.message_types import Topic
from hcat_ros.evaluation.bags.named_boxes import NO_BOX, Start, Truth
from hcat_ros.evaluation.bags.reading import Bag, BagFrame
from hcat_ros.evaluation.clips import Clip, ImagesOf
from hcat_ros.evaluation.one_pass import Answers
from hcat_ros.evaluation.protocols import PROTOCOLS, score_run
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.scored_run import Run
from hcat_ros.tracking import TargetState, Track, Tracker
from hcat_ros.tracking.encodings import Image, to_bgr
from hcat_ros.tracking.frame_buffer import StampedFrame
from hcat_ros.tracking.session import TrackingSession
from hcat_ros.tracking.stream import ImageStream, Turn
from hcat_ros.tracking.target_requests import STAMP_TOLERANCE, TargetRequest

PROTOCOL = 'plain'
NAN = float('nan')
NOTHING = (0.0, 0.0, 0.0, 0.0)
"""The answer for an image that is not tracked."""
LEAST_SIDE = 2
"""Pixels; a clip starts with a box that is not smaller."""


class Followed(NamedTuple):
    """An image and what the tracker makes of it."""

    frame: BagFrame
    track: Track | None
    """None while there is no target; where one starts, the box that names it, score NaN."""
    target: int
    """Number of the target, 0 before the first."""
    starts: bool
    """Whether the target was named on this image."""
    class_id: str
    truth: NDArray[np.float64]
    """(4,) as x y w h, NaN where it is absent or not known."""
    seconds: float
    """Time that the start or the update took, s."""

    @property
    def iou(self) -> float:
        """With the truth, NaN without one or without a track."""
        return float(iou(self.track.box, self.truth)) if self.track else float('nan')


def follow(
    tracker: Tracker,
    frames: Iterable[BagFrame],
    start: Start,
    truth: Truth | None,
    findings: Findings,
) -> Iterator[Followed]:
    """Yield each image as it is done.

    A target that the tracker has already is dropped. Late images, jumps in time and other views
    are treated as the node treats them, by the same `TrackingSession`, and are told to `findings`,
    as are init boxes and images that it refuses. An image on which a target is named while another
    one is followed comes twice: with the track of the old target, and with the new one's box.
    """
    tracker.drop_target()
    stream = ImageStream()
    index = 0

    def refuse(kind: str, reason: str) -> None:
        findings.add(kind, f'image {index}: {reason}')

    # Without a buffer: `start` names each target on its own frame, which is then the newest.
    session = TrackingSession(tracker, 0, STAMP_TOLERANCE, refuse, map(str, itertools.count(1)))
    before: int | None = None
    for frame, following in _with_next(frames):
        index = frame.index
        if frame.stamp == before:
            findings.add('images with the stamp of the one before', f'image {index}')
        before = frame.stamp
        turn, reason = stream.turn(frame, frame.log_time / 1e9)
        true_box = truth.of(frame) if truth else NO_BOX
        nothing = Followed(frame, None, int(session.target_id or 0), False, '', true_box, NAN)
        if turn.is_passed_over:
            findings.add('images passed over', f'image {index}: {reason}')
            yield nothing
            continue
        if turn is not Turn.GOES_ON:
            then = 'there was no target'
            if session.has_target:
                kept = turn is Turn.JUMPED
                then = 'the target was ' + ('looked for where it was' if kept else 'dropped')
            findings.add('new beginnings', f'image {index}: {reason}; {then}')
        if turn is Turn.BEGINS:
            session.reset()
        elif turn is Turn.JUMPED:
            session.record_time_jump()
        named = start.on(frame, following)
        stamped = StampedFrame(frame.stamp, frame, frame.image, frame.encoding)
        began = time.perf_counter()
        tracked = list(session.add_frame(stamped))
        seconds = time.perf_counter() - began
        for one in tracked:
            yield nothing._replace(track=one.track, class_id=one.class_id, seconds=seconds)
        started = ''
        if named is not None:
            began, old = time.perf_counter(), session.target_id
            list(session.request(TargetRequest(named.box, 0, named.class_id)))
            seconds = time.perf_counter() - began
            started = session.target_id if session.target_id != old else ''
        if started and named is not None:
            track = Track(named.box, NAN, TargetState.TRACKING)
            yield Followed(frame, track, int(started), True, named.class_id, true_box, seconds)
        elif not tracked:
            yield nothing
    for reason in start.unused():
        findings.add('init boxes not used', reason)


def _with_next(frames: Iterable[BagFrame]) -> Iterator[tuple[BagFrame, BagFrame | None]]:
    """Yield each frame with the one that follows."""
    before: BagFrame | None = None
    for frame in frames:
        if before is not None:
            yield before, frame
        before = frame
    if before is not None:
        yield before, None


@dataclass
class _Sequence:
    """A target, from the image that it was named on."""

    size: tuple[int, int]
    answers: Answers = field(default_factory=Answers)
    truth: list[NDArray[np.float64]] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)
    """Time of recording, stamp and number of each image."""
    untracked: list[bool] = field(default_factory=list)
    """Whether an image has no track though the target is in it."""


class Sequences:
    """What a replay comes to: a sequence for each target, from its name to the last track."""

    def __init__(self, bag: Bag, topic: Topic) -> None:
        self._bag, self._topic = bag, topic
        self._sequences: list[_Sequence] = []
        self._clips: dict[str, _Sequence] = {}

    def add(self, followed: Followed) -> None:
        """Take the next image.

        One without a track counts as missed if it has a truth and a target was named before.
        """
        track, truth = followed.track, followed.truth
        if track is None and not (self._sequences and _usable(truth)):
            return
        if track is None:
            self._sequences[-1].answers.add(NOTHING, float('nan'), False, float('nan'))
        elif followed.starts:
            height, width = followed.frame.image.shape[:2]
            self._sequences.append(_Sequence((width, height)))
            self._sequences[-1].answers.start(track.box, followed.seconds)
            if not _usable(truth):  # the box that the tracker was given takes its place
                truth = np.array([*track.box[:2], *np.maximum(track.box[2:], LEAST_SIDE)])
        else:
            lost = track.state is TargetState.LOST
            self._sequences[-1].answers.add(track.box, track.score, lost, followed.seconds)
        frame = followed.frame
        self._sequences[-1].truth.append(truth)
        self._sequences[-1].places.append((frame.log_time, frame.stamp, frame.index))
        self._sequences[-1].untracked.append(track is None)

    @property
    def untracked(self) -> int:
        """How many images with a truth have no track, and so an overlap of 0."""
        return sum(sum(each.untracked) for each in self._sequences)

    def numbers(self) -> list[NDArray[np.int64]]:
        """Return the numbers of each target's images on their topic."""
        return [np.array([place[2] for place in each.places]) for each in self._sequences]

    def stamps(self) -> list[NDArray[np.int64]]:
        """Return the stamps of each target's images."""
        return [np.array([place[1] for place in each.places]) for each in self._sequences]

    def answered_by(self, tracks: Mapping[int, Track]) -> Sequences:
        """Return these targets with other answers, by the number of their image.

        Each starts with the box that it was named with. An image without an answer keeps the one
        of the image before.
        """
        others = Sequences(self._bag, self._topic)
        for each in self._sequences:
            answers = Answers()
            box, lost = each.answers.result().boxes[0].tolist(), False
            answers.start(box, float('nan'))
            for _, _, number in each.places[1:]:
                score = float('nan')
                if number in tracks:
                    track = tracks[number]
                    box, score = list(track.box), track.score
                    lost = track.state is TargetState.LOST
                answers.add(box, score, lost, float('nan'))
            untracked = [False] * len(each.places)
            others._sequences.append(replace(each, answers=answers, untracked=untracked))
        return others

    def results(self) -> tuple[list[Clip], list[SequenceResult]]:
        """Return a clip and a result for each target. The clips' images have names, no files."""
        clips, results = [], []
        for number, sequence in enumerate(self._sequences, 1):
            name = self._bag.name
            name = f'{name}, target {number}' if len(self._sequences) > 1 else name
            images = ImagesOf(self._bag.path, (f'{index:06d}' for _, _, index in sequence.places))
            clips.append(Clip(name, images, np.array(sequence.truth, np.float64)))
            results.append(sequence.answers.result())
            self._clips[name] = sequence
        return clips, results

    def run(self, title: str, configuration: dict[str, Any]) -> Run | None:
        """Return the targets with a truth after their first image as a run, None without any."""
        scored = [
            (clip, result, sequence.size)
            for clip, result, sequence in zip(*self.results(), self._sequences)
            if len(clip.visible) > 1
        ]
        if not scored:
            return None
        clips, results, sizes = (list(column) for column in zip(*scored))
        count = self.untracked
        missed = f'images with a truth and without a track, counted as overlap 0: {count}'
        return Run(
            title,
            configuration,
            clips,
            results,
            score_run(PROTOCOLS[PROTOCOL], clips, results, sizes),
            remarks=(missed,) if count else (),
        )

    def read_frame(self, clip: Clip, row: int) -> Image | None:
        """Return the image of a row of a clip's result from the bag, BGR; for the report."""
        log_time, stamp, _ = self._clips[clip.name].places[row]
        try:
            frame = self._bag.frame_at(self._topic, log_time, stamp)
        except ValueError:
            return None
        return to_bgr(frame.image, frame.encoding)


def _usable(box: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(box).all() and (box[2:] >= LEAST_SIDE).all())
