# SPDX-License-Identifier: Apache-2.0
"""Runs VOT's multi-start experiment: a pass from every anchor of every sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.runs import Entry, Evaluation, Progress, frame_size
from hcat_ros.evaluation.vot import (
    Anchor,
    VotScore,
    anchored_run,
    anchors,
    multi_start,
    read_anchors,
)

ANCHOR_FILE = 'anchor.value'
MEASURES = ('accuracy', 'robustness', 'EAO')
FOLDER = 'multi-start'


def run_multi_start(evaluation: Evaluation, entry: Entry, progress: Progress) -> VotScore:
    """Return the measures of the experiment; its passes are kept and used as others are.

    Raises ValueError for a folder of results in a tracker's place, and as `Evaluation.run`.
    """
    if isinstance(entry.tracker, Path):
        raise ValueError(
            f'{entry.title}: results from the first box alone say nothing of other starts; leave '
            '--multi-start or --results out'
        )
    starts = {clip.name: anchors_of(clip) for clip in evaluation.clips}
    passes = [
        anchored_clip(clip, anchor) for clip in evaluation.clips for anchor in starts[clip.name]
    ]
    apart = replace(evaluation, clips=passes, folder=evaluation.folder / FOLDER)
    results = iter(apart.answers(apart.settle(entry), progress))
    return multi_start(
        [
            [
                anchored_run(anchor, result.boxes, clip.boxes, frame_size(clip))
                for anchor, result in zip(
                    starts[clip.name], islice(results, len(starts[clip.name]))
                )
            ]
            for clip in evaluation.clips
        ]
    )


def anchors_of(clip: Clip) -> Sequence[Anchor]:
    """Return the anchors that VOT gives with a sequence, or one every 50 frames."""
    count = len(clip.images)
    for folder in list(Path(clip.images[0]).parents)[:2]:
        if (folder / ANCHOR_FILE).is_file():
            return read_anchors(folder / ANCHOR_FILE, count)
    usable = np.zeros(count, np.bool_)
    usable[clip.visible] = True
    return anchors(count, usable=usable)


def anchored_clip(clip: Clip, anchor: Anchor) -> Clip:
    """Return the clip from an anchor on, in the order in which it is run."""
    order = anchor.order(len(clip.images))
    direction = 'backward' if anchor.backward else 'forward'
    return Clip(
        f'{clip.name}_{anchor.frame:08d}_{direction}',
        [clip.images[number] for number in order],
        clip.boxes[order],
    )
