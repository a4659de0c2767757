# SPDX-License-Identifier: Apache-2.0
"""A track that a node has published and somebody recorded, judged beside a replay's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hcat_ros.evaluation.bags.findings import Findings
from hcat_ros.evaluation.bags.follow import Sequences
from hcat_ros.evaluation.bags.message_types import DETECTION
from hcat_ros.evaluation.bags.reading import open_bag
from hcat_ros.message_data import best_class, box_of, nanoseconds
from hcat_ros.tracking import TargetState, Track

TRACK = 'track'
"""Last part of the name of the topic."""


def recorded_tracks(path: Path, findings: Findings) -> dict[int, Track]:
    """Return the tracks in a bag by the stamp of their image; the score is NaN while it is lost.

    What is wrong with the bag is added to the findings. Raises ValueError, OSError.
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
            state = TargetState.TRACKING if message.results else TargetState.LOST
            score = best_class(message)[1] if message.results else float('nan')
            tracks[nanoseconds(message.header.stamp)] = Track(box_of(message), score, state)
        for text in bag.findings:
            findings.note(f'{path.name}: {text}')
    return tracks


class Recorded(NamedTuple):
    """What a recorded track comes to."""

    sequences: Sequences
    """Of the same targets and images as the replay's."""
    compared: int
    """Images that both have a track for."""
    difference: float
    """The largest one between their boxes, pixels; NaN without any to compare."""


def recorded(own: Sequences, tracks: Mapping[int, Track], findings: Findings) -> Recorded:
    """Judge recorded tracks, by the stamp of their image, on the targets of a replay.

    An image without a track, which the node has dropped, keeps the box of the one before. That,
    and tracks that belong to no image, are told to the findings.
    """
    sequences = own.answered_by(tracks)
    stamps = own.stamps()
    gaps = []
    for number, (theirs, ours) in enumerate(zip(sequences.results()[1], own.results()[1])):
        there = np.array([stamp in tracks for stamp in stamps[number][1:]], bool)
        gaps.append(np.abs(theirs.boxes[1:] - ours.boxes[1:])[there])
        for stamp in stamps[number][1:][~there]:
            findings.add('images without a track', f'the one of {stamp / 1e9:.3f} s')
    known = set(np.concatenate(stamps).tolist()) if stamps else set()
    for stamp in sorted(set(tracks) - known):
        findings.add('tracks without an image', f'the one of {stamp / 1e9:.3f} s')
    gap = np.concatenate(gaps) if gaps else np.empty((0, 4))
    return Recorded(sequences, len(gap), float(gap.max()) if gap.size else float('nan'))
