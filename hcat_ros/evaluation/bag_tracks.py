# SPDX-License-Identifier: Apache-2.0
"""A track that a tracker has published and somebody recorded, instead of one made now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.bag_boxes import NO_BOX, Truth
from hcat_ros.evaluation.bag_replay import Followed
from hcat_ros.evaluation.bag_types import DETECTION
from hcat_ros.evaluation.bags import BagFrame, open_bag
from hcat_ros.evaluation.findings import Findings
from hcat_ros.message_data import best_class, box_of, nanoseconds
from hcat_ros.tracking import TargetState, Track

TRACK = 'track'
"""Last part of the name of the topic."""


class RecordedTrack(NamedTuple):
    """A message of the track."""

    track: Track
    target: str
    """The same as long as the target is."""
    class_id: str


def recorded_tracks(path: Path, findings: Findings) -> dict[int, RecordedTrack]:
    """Return the tracks in a bag by the stamp of their image. Raises ValueError, OSError.

    What is wrong with the bag is added to the findings.
    """
    with open_bag(path) as bag:
        found = [
            topic
            for topic in bag.topics.values()
            if topic.type == DETECTION and topic.name.rpartition('/')[2] == TRACK
        ]
        if len(found) != 1:
            listed = ', '.join(topic.name for topic in found) or 'none'
            raise ValueError(f'{path}: expected one Detection2D topic {TRACK}, found {listed}')
        tracks = {}
        for _, _, message in bag.decoded(found[0]):
            class_id, score = best_class(message)
            state = TargetState.TRACKING if message.results else TargetState.LOST
            score = score if message.results else float('nan')
            track = Track(box_of(message), score, state)
            stamp = nanoseconds(message.header.stamp)
            tracks[stamp] = RecordedTrack(track, message.id, class_id)
        for text in bag.findings:
            findings.note(f'{path.name}: {text}')
    return tracks


def follow_recorded(
    tracks: dict[int, RecordedTrack],
    frames: Iterable[BagFrame],
    truth: Truth | None,
    findings: Findings,
) -> Iterator[Followed]:
    """Yield each image with the track that was recorded for it, as `follow` does with a tracker's.

    The node tells nothing of the image on which a target is named: it is taken to be the one before
    its first track, with that track's box. An image without a track, which the node has dropped,
    keeps the box of the one before. Tracks that belong to no image are told to `findings`.
    """
    nan = float('nan')
    before: BagFrame | None = None
    last: RecordedTrack | None = None
    target = 0
    left = set(tracks)

    def true(frame: BagFrame) -> NDArray[np.float64]:
        return truth.of(frame) if truth else NO_BOX

    for frame in frames:
        found = tracks.get(frame.stamp)
        left.discard(frame.stamp)
        begins = found is not None and (last is None or last.target != found.target)
        if last is None and before is not None and not begins:
            yield Followed(before, None, 0, False, '', true(before), nan)
        if found is not None and begins:
            target += 1
            named = before or frame
            box = Track(found.track.box, nan, TargetState.TRACKING)
            yield Followed(named, box, target, True, found.class_id, true(named), nan)
        if found is None and last is not None:
            findings.add('images without a track', f'image {frame.index}')
        last = found or last
        if last is not None and before is not None:
            yield Followed(frame, last.track, target, False, last.class_id, true(frame), nan)
        before = frame
    if last is None and before is not None:
        yield Followed(before, None, 0, False, '', true(before), nan)
    for stamp in sorted(left):
        findings.add('tracks without an image', f'the one of {stamp / 1e9:.3f} s')
