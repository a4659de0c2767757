# SPDX-License-Identifier: Apache-2.0
"""Runs VOT's multi-start experiment: a pass from every anchor of every sequence."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from hcat_ros.boxes import checked_target_box
from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.passes import LeftOut
from hcat_ros.evaluation.runs import Entry, Evaluation, Progress, frame_size
from hcat_ros.evaluation.vot import (
    Anchor,
    AnchoredRun,
    VotScore,
    anchored_run,
    anchors,
    multi_start,
    read_anchors,
)

ANCHOR_FILE = 'anchor.value'
MEASURES = ('accuracy', 'robustness', 'EAO')
FOLDER = 'multi-start'


def run_multi_start(
    evaluation: Evaluation, entry: Entry, progress: Progress
) -> tuple[VotScore, list[str]]:
    """Return the measures of the experiment, and a line for each sequence that was left out.

    A sequence is left out if one of its passes cannot be run. The passes are kept and reused as in
    every evaluation. Raises ValueError if the entry is a folder of results or if no sequence
    remains; otherwise as `Evaluation.run` does.
    """
    if isinstance(entry.tracker, Path):
        raise ValueError(
            f'{entry.title}: a folder of results has no passes from other starts than the first '
            'box; leave out --multi-start or --results'
        )
    left_out: list[str] = []
    starts: dict[str, Sequence[Anchor]] = {}
    for clip in evaluation.clips:
        try:
            starts[clip.name] = anchors_of(clip)
        except (OSError, ValueError) as error:
            left_out.append(f'{clip.name}: {error}')
    clips = [clip for clip in evaluation.clips if clip.name in starts]
    passes = [anchored_clip(clip, anchor) for clip in clips for anchor in starts[clip.name]]
    apart = replace(evaluation, clips=passes, folder=evaluation.folder / FOLDER)
    answers = iter(apart.try_answers(apart.settle(entry), progress))
    scored: list[list[AnchoredRun]] = []
    for clip in clips:
        runs: list[AnchoredRun] = []
        reasons: list[str] = []
        for anchor, answer in zip(starts[clip.name], list(islice(answers, len(starts[clip.name])))):
            if isinstance(answer, LeftOut):
                reasons.append(f'from frame {anchor.frame}: {answer.reason}')
            else:
                runs.append(anchored_run(anchor, answer.boxes, clip.boxes, frame_size(clip)))
        if reasons or not runs:
            left_out.append(f'{clip.name}: {"; ".join(reasons) or "no frame to start from"}')
        else:
            scored.append(runs)
    if not scored:
        raise ValueError(f'{entry.title}: no sequence for --multi-start; {"; ".join(left_out)}')
    return multi_start(scored), left_out


def anchors_of(clip: Clip) -> Sequence[Anchor]:
    """Return the anchors that VOT provides with a sequence, or else one every 50 frames.

    The latter are placed on frames whose box can be an init box. Raises OSError, ValueError.
    """
    count = len(clip.images)
    for folder in list(Path(clip.images[0]).parents)[:2]:
        if (folder / ANCHOR_FILE).is_file():
            return read_anchors(folder / ANCHOR_FILE, count)
    usable = np.zeros(count, np.bool_)
    width, height = frame_size(clip)
    for number in clip.visible:
        with contextlib.suppress(ValueError):  # such as for a box nearly all outside the frame
            checked_target_box(clip.boxes[number], width, height)
            usable[number] = True
    return anchors(count, usable=usable)


def anchored_clip(clip: Clip, anchor: Anchor) -> Clip:
    """Return the part of a clip that starts at an anchor, in the order of the run."""
    order = anchor.order(len(clip.images))
    direction = 'backward' if anchor.backward else 'forward'
    return Clip(
        f'{clip.name}_{anchor.frame:08d}_{direction}',
        [clip.images[number] for number in order],
        clip.boxes[order],
    )
