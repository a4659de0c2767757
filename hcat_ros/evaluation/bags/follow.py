# SPDX-License-Identifier: Apache-2.0
"""Runs a tracker on every image of a bag in order, like a node that drops no image."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import iou
from hcat_ros.evaluation.bags.findings import Findings
from hcat_ros.evaluation.bags.message_types import Topic
from hcat_ros.evaluation.bags.named_boxes import NO_BOX, NamedBox, Start, Truth
from hcat_ros.evaluation.bags.reading import Bag, BagFrame
from hcat_ros.evaluation.clips import Clip, ImagesOf
from hcat_ros.evaluation.one_pass import Answers
from hcat_ros.evaluation.protocols import PROTOCOLS, score_run
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.scored_run import Run
from hcat_ros.tracking import TargetState, Track, Tracker
from hcat_ros.tracking.encodings import Image, to_bgr
from hcat_ros.tracking.followed_target import TargetTrack
from hcat_ros.tracking.frame_buffer import StampedFrame
from hcat_ros.tracking.session import TrackingSession
from hcat_ros.tracking.stream import ImageStream, Turn
from hcat_ros.tracking.target_requests import STAMP_TOLERANCE, TargetRequest

PROTOCOL = 'plain'
NAN = float('nan')
NOTHING = (0.0, 0.0, 0.0, 0.0)
"""Box of an image that has no track."""
LEAST_SIDE = 2
"""Smallest width and height of the first box of a clip, pixels."""


class Followed(NamedTuple):
    """An image and the tracker's answer for one target in it."""

    frame: BagFrame
    track: Track | None
    """Track of the target; None without a target; where it starts, its init box with score NaN."""
    target: int
    """Number of the target; 0 before the first target."""
    starts: bool
    """Whether the target was named on this image."""
    class_id: str
    truth: NDArray[np.float64]
    """True box, (4,) as x y w h; NaN if the target is absent or its box is not known."""
    seconds: float
    """Duration of the start or the update, s; several targets have equal shares of it."""
    is_primary: bool = True
    """Whether the topic `track` is about this target."""

    @property
    def iou(self) -> float:
        """IoU of the track and the truth; NaN if one of them is missing."""
        return float(iou(self.track.box, self.truth)) if self.track else float('nan')


def follow(
    tracker: Tracker,
    frames: Iterable[BagFrame],
    start: Start,
    truths: Sequence[Truth],
    findings: Findings,
    max_targets: int = 1,
) -> Iterator[Followed]:
    """Yield the answers for each image, one for each target.

    A target that the tracker already follows is dropped first. Late images, jumps in time and
    other views are treated as the node treats them, by the same `TrackingSession`, and are added to
    `findings`, as are init boxes and images that it refuses. Only the node recognises a frozen
    camera and images older than `max_age`, which requires a live clock. If a target is named while
    another one is followed, its image is yielded twice: with the old target's track, and with the
    new target's box.

    truths: none or one; with several targets, one for each in the order in which they are named.
    Each target is searched for in every image.
    """
    following = _Following(tracker, start, truths, findings, max_targets)
    for frame, next_frame in _with_next(frames):
        yield from following.add(frame, next_frame)
    for reason in start.unused():
        findings.add('init boxes not used', reason, left_out=True)


class _Following:
    """Follows the targets of a replay from image to image."""

    def __init__(
        self,
        tracker: Tracker,
        start: Start,
        truths: Sequence[Truth],
        findings: Findings,
        max_targets: int,
    ) -> None:
        tracker.drop_target()
        self._named_by, self._truths, self._findings = start, truths, findings
        self._stream = ImageStream()
        self._frame: BagFrame | None = None
        ids = map(str, itertools.count(1))
        # No frame buffer is needed: each target starts on its own frame, which is the newest.
        self._session = TrackingSession(
            tracker, 0, STAMP_TOLERANCE, self._refuse, ids, max_targets, paced=False
        )
        self._truth_of: dict[int, int] = {}
        """Index into the truths, by the number of each target whose images count."""
        self._true_boxes: list[NDArray[np.float64]] = []

    def _refuse(self, kind: str, reason: str) -> None:
        assert self._frame is not None
        left_out = kind in ('refused boxes', 'failed frames')
        self._findings.add(kind, f'image {self._frame.index}: {reason}', left_out=left_out)

    def add(self, frame: BagFrame, next_frame: BagFrame | None) -> Iterator[Followed]:
        """Yield the answers for an image. next_frame: the image after it."""
        if self._frame is not None and frame.stamp == self._frame.stamp:
            kind = 'images with the stamp of the previous image'
            self._findings.add(kind, f'image {frame.index}')
        self._frame = frame
        self._true_boxes = [truth.box_for(frame) for truth in self._truths]
        turn, reason = self._stream.turn(frame, frame.log_time / 1e9)
        if turn.is_passed_over:
            self._findings.add('images passed over', f'image {frame.index}: {reason}')
            yield from self._without_track(set())
            return
        if turn is not Turn.GOES_ON:
            self._begin_anew(turn, reason)
        # Init boxes are taken only on images that are used; elsewhere they would be lost unnoticed.
        named = self._named_by.take_boxes(frame, next_frame)
        done = set()
        for answer in itertools.chain(self._track(frame), self._start(frame, named)):
            done.add(answer.target)
            yield answer
        yield from self._without_track(done)

    def _begin_anew(self, turn: Turn, reason: str) -> None:
        assert self._frame is not None
        then = 'there was no target'
        if self._session.has_target:
            kept = turn is Turn.JUMPED
            then = 'the target was ' + ('searched for where it was' if kept else 'dropped')
        self._findings.add('new beginnings', f'image {self._frame.index}: {reason}; {then}')
        self._session.begin_anew(turn)

    def _track(self, frame: BagFrame) -> Iterator[Followed]:
        """Yield the answers for the targets that are being followed."""
        stamped = StampedFrame(frame.stamp, frame, frame.image, frame.encoding)
        began = time.perf_counter()
        tracked = list(self._session.add_frame(stamped))
        seconds = (time.perf_counter() - began) / max(1, sum(1 + len(t.others) for t in tracked))
        for one in tracked:
            if one.track is not None:
                primary = TargetTrack(one.track, one.target_id, one.class_id)
                for track, target_id, class_id in (primary, *one.others):
                    yield self._answer(int(target_id), track, class_id, seconds)

    def _start(self, frame: BagFrame, named: Sequence[NamedBox]) -> Iterator[Followed]:
        """Start targets on a frame; if only one target is allowed, the last box counts."""
        alone = self._session.max_targets == 1
        for box in named[-1:] if alone else named:
            before = {target.id for target in self._session.targets}
            began = time.perf_counter()
            list(self._session.request(TargetRequest(box.box, 0, box.class_id)))
            seconds = time.perf_counter() - began
            for target in self._session.targets:
                if target.id not in before:
                    number = int(target.id)
                    if alone:
                        self._truth_of.clear()
                    self._truth_of[number] = 0 if alone else box.number
                    track = Track(box.box, NAN, TargetState.TRACKING)
                    yield self._answer(number, track, box.class_id, seconds, starts=True)

    def _without_track(self, done: set[int]) -> Iterator[Followed]:
        """Yield the image for each target without an answer, or once if there is no target."""
        missing = self._truth_of.keys() - done
        for number in sorted(missing) or ([] if done else [0]):
            yield self._answer(number, None, '', NAN)

    def _answer(
        self,
        target: int,
        track: Track | None,
        class_id: str,
        seconds: float,
        starts: bool = False,
    ) -> Followed:
        assert self._frame is not None
        number = self._truth_of.get(target, 0)
        truth = self._true_boxes[number] if number < len(self._true_boxes) else NO_BOX
        is_primary = target == int(self._session.target_id or 0)
        return Followed(self._frame, track, target, starts, class_id, truth, seconds, is_primary)


def _with_next(frames: Iterable[BagFrame]) -> Iterator[tuple[BagFrame, BagFrame | None]]:
    """Yield each frame and the frame after it."""
    before: BagFrame | None = None
    for frame in frames:
        if before is not None:
            yield before, frame
        before = frame
    if before is not None:
        yield before, None


@dataclass
class _Sequence:
    """The answers for a target, from the image on which it was named."""

    size: tuple[int, int]
    answers: Answers = field(default_factory=Answers)
    truth: list[NDArray[np.float64]] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)
    """Time of recording, stamp and number of each image."""
    untracked: list[bool] = field(default_factory=list)
    """Whether an image has no track though the target is in it."""


class Sequences:
    """Results of a replay: a sequence for each target, from the image on which it was named."""

    def __init__(self, bag: Bag, topic: Topic, mono16_bits: int = 16) -> None:
        """mono16_bits: number of bits of a mono16 pixel that the sensor fills."""
        self._bag, self._topic, self._mono16_bits = bag, topic, mono16_bits
        self._by_target: dict[int, _Sequence] = {}

    def add(self, followed: Followed) -> None:
        """Add the answer for the next image.

        An image without a track counts as missed if it has a true box and its target was named.
        """
        track, truth, target = followed.track, followed.truth, followed.target
        if track is None and not (target in self._by_target and _usable(truth)):
            return
        if followed.starts:
            height, width = followed.frame.image.shape[:2]
            self._by_target[target] = _Sequence((width, height))
        sequence = self._by_target[target]
        if track is None:
            sequence.answers.add(NOTHING, float('nan'), False, float('nan'))
        elif followed.starts:
            sequence.answers.start(track.box, followed.seconds)
            if not _usable(truth):  # use the box that the tracker was given
                truth = np.array([*track.box[:2], *np.maximum(track.box[2:], LEAST_SIDE)])
        else:
            lost = track.state is TargetState.LOST
            sequence.answers.add(track.box, track.score, lost, followed.seconds)
        frame = followed.frame
        sequence.truth.append(truth)
        sequence.places.append((frame.log_time, frame.stamp, frame.index))
        sequence.untracked.append(track is None)

    @property
    def _sequences(self) -> list[_Sequence]:
        """The sequences in the order in which their targets were named."""
        return list(self._by_target.values())

    def _by_clip_name(self) -> dict[str, _Sequence]:
        """Return the sequences by the names of their clips."""
        sequences = self._sequences
        if len(sequences) == 1:
            return {self._bag.name: sequences[0]}
        return {f'{self._bag.name}, target {n}': one for n, one in enumerate(sequences, 1)}

    @property
    def untracked(self) -> int:
        """Number of images that have a true box but no track, and so an overlap of 0."""
        return sum(sum(each.untracked) for each in self._sequences)

    def numbers(self) -> list[NDArray[np.int64]]:
        """Return the numbers of each target's images on their topic."""
        return [np.array([place[2] for place in each.places]) for each in self._sequences]

    def stamps(self) -> list[NDArray[np.int64]]:
        """Return the stamps of each target's images."""
        return [np.array([place[1] for place in each.places]) for each in self._sequences]

    def answered_by(self, tracks: Mapping[int, Track]) -> Sequences:
        """Return the same targets with other tracks, given by the index of their image.

        Each target starts with its init box. An image without a track keeps the box of the image
        before.
        """
        others = Sequences(self._bag, self._topic, self._mono16_bits)
        for number, each in self._by_target.items():
            answers = Answers()
            box, lost = each.answers.result().boxes[0].tolist(), False
            answers.start(box, float('nan'))
            for _, _, image in each.places[1:]:
                score = float('nan')
                if image in tracks:
                    track = tracks[image]
                    box, score = list(track.box), track.score
                    lost = track.state is TargetState.LOST
                answers.add(box, score, lost, float('nan'))
            untracked = [False] * len(each.places)
            others._by_target[number] = replace(each, answers=answers, untracked=untracked)
        return others

    def results(self) -> tuple[list[Clip], list[SequenceResult]]:
        """Return a clip and a result for each target. The clips' images are names without files."""
        clips, results = [], []
        for name, sequence in self._by_clip_name().items():
            images = ImagesOf(self._bag.path, (f'{index:06d}' for _, _, index in sequence.places))
            clips.append(Clip(name, images, np.array(sequence.truth, np.float64)))
            results.append(sequence.answers.result())
        return clips, results

    def run(self, title: str, configuration: dict[str, Any]) -> Run | None:
        """Return a run of the targets with a true box after their first image; None without any."""
        scored = [
            (clip, result, sequence.size)
            for clip, result, sequence in zip(*self.results(), self._sequences)
            if len(clip.visible) > 1
        ]
        if not scored:
            return None
        clips, results, sizes = (list(column) for column in zip(*scored))
        count = self.untracked
        missed = f'images with a true box but no track, counted as overlap 0: {count}'
        return Run(
            title,
            configuration,
            clips,
            results,
            score_run(PROTOCOLS[PROTOCOL], clips, results, sizes),
            remarks=(missed,) if count else (),
        )

    def read_frame(self, clip: Clip, row: int) -> Image | None:
        """Read the image of a row of a clip's result from the bag, as BGR; for the report."""
        log_time, stamp, _ = self._by_clip_name()[clip.name].places[row]
        try:
            frame = self._bag.frame_at(self._topic, log_time, stamp, self._mono16_bits)
        except ValueError:
            return None
        return to_bgr(frame.image, frame.encoding)


def _usable(box: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(box).all() and (box[2:] >= LEAST_SIDE).all())
