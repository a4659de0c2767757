# SPDX-License-Identifier: Apache-2.0
"""Compares a recorded track, which a node has published, with the track of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.bags.findings import Findings
from hcat_ros.evaluation.bags.follow import Sequences
from hcat_ros.evaluation.bags.message_types import DETECTION
from hcat_ros.evaluation.bags.reading import open_bag
from hcat_ros.message_data import best_class, box_of, nanoseconds
from hcat_ros.tracking import TargetState, Track

TRACK = 'track'
"""Last part of the name of the recorded topic."""


class RecordedTrack(NamedTuple):
    """A track as it was published."""

    stamp: int
    """Stamp of the track's image, nanoseconds."""
    track: Track


def recorded_tracks(path: Path, findings: Findings) -> list[RecordedTrack]:
    """Read the tracks in a bag in their order; the score is NaN while the target is lost.

    Problems of the bag are added to the findings. Raises ValueError, OSError.
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
        tracks = []
        for _, _, message in bag.decode_topic(found[0]):
            state = TargetState.TRACKING if message.results else TargetState.LOST
            score = best_class(message)[1] if message.results else float('nan')
            track = Track(box_of(message), score, state)
            tracks.append(RecordedTrack(nanoseconds(message.header.stamp), track))
        left_out = bag.findings.left_out
        for text in bag.findings:
            findings.note(f'{path.name}: {text}', left_out=text in left_out)
    return tracks


class Recorded(NamedTuple):
    """The comparison of a recorded track with a replay."""

    sequences: Sequences
    """Recorded tracks of the replay's targets and images."""
    compared: int
    """Number of images for which both have a track."""
    difference: float
    """Largest difference between x, y, w or h of their boxes, pixels; NaN if none is compared."""


def judge_recorded(own: Sequences, tracks: Sequence[RecordedTrack], findings: Findings) -> Recorded:
    """Judge recorded tracks on the targets of a replay.

    Tracks belong to images by stamp or, if stamps repeat, by order, for which there must be one
    track per image. An image that the node has dropped has no track and keeps the box of the image
    before. Such images, and tracks that belong to no image, are added to the findings. Raises
    ValueError for tracks that could belong to several images.
    """
    numbers, stamps = own.numbers(), own.stamps()
    by_number, unknown = _by_number(numbers, stamps, tracks, findings)
    sequences = own.answered_by(by_number)
    gaps = []
    for target, (theirs, ours) in enumerate(zip(sequences.results()[1], own.results()[1])):
        there = np.array([number in by_number for number in numbers[target][1:]], bool)
        gaps.append(np.abs(theirs.boxes[1:] - ours.boxes[1:])[there])
        for stamp in stamps[target][1:][~there]:
            findings.add('images without a track', f'at {stamp / 1e9:.3f} s')
    for stamp in unknown:
        findings.add('tracks without an image', f'at {stamp / 1e9:.3f} s')
    gap = np.concatenate(gaps) if gaps else np.empty((0, 4))
    return Recorded(sequences, len(gap), float(gap.max()) if gap.size else float('nan'))


def _by_number(
    numbers: Sequence[NDArray[np.int64]],
    stamps: Sequence[NDArray[np.int64]],
    tracks: Sequence[RecordedTrack],
    findings: Findings,
) -> tuple[dict[int, Track], list[int]]:
    """Return the tracks by the number of their image, and the stamps of tracks without an image."""
    every = [int(stamp) for of_target in stamps for stamp in of_target]
    places = [int(number) for of_target in numbers for number in of_target]
    # An image on which another target starts occurs twice.
    by_stamp = dict(zip(every, places))
    unique = len(by_stamp) == len(set(places))
    if unique and len({one.stamp for one in tracks}) == len(tracks):
        known = {by_stamp[one.stamp]: one.track for one in tracks if one.stamp in by_stamp}
        return known, sorted({one.stamp for one in tracks} - by_stamp.keys())
    after = [int(number) for of_target in numbers for number in of_target[1:]]
    if len(after) != len(tracks):
        raise ValueError(
            f'stamps repeat, so {len(tracks)} tracks cannot be assigned to {len(after)} images: '
            'record one track for each image, or images whose stamps differ'
        )
    findings.note('stamps repeat: the recorded tracks belong to images in order')
    return {number: one.track for number, one in zip(after, tracks)}, []
