# SPDX-License-Identifier: Apache-2.0
"""The multi-start experiment of VOT on images: choice of anchors and passes without a start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcat_ros.evaluation.clips import Clip, read_clips
from hcat_ros.evaluation.multi_start import ANCHOR_FILE, anchors_of, run_multi_start
from hcat_ros.evaluation.protocols import PROTOCOLS
from hcat_ros.evaluation.runs import Entry, Evaluation
from hcat_ros.evaluation.trackers import OpenCvSpec, StillSpec
from hcat_ros.evaluation.vot import Anchor

OUTSIDE = [126.0, 30, 32, 24]
"""Only a sixteenth of the width of this box is inside an image of 128 x 96."""


@pytest.fixture
def clip(tmp_path: Path, sequence: Callable[..., Path]) -> Clip:
    sequence(tmp_path / 'video' / 'clip', 8)
    return read_clips('plain', tmp_path / 'video')[0]


def quietly(results: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    return results


def test_anchors_are_on_frames_whose_box_can_start_a_track(clip: Clip) -> None:
    assert anchors_of(clip) == [Anchor(0, False), Anchor(7, True)]
    boxes = clip.boxes.copy()
    boxes[[0, 7]] = OUTSIDE
    assert anchors_of(replace(clip, boxes=boxes)) == [Anchor(1, False), Anchor(6, True)]


def test_only_the_sequence_without_a_valid_start_is_left_out(
    tmp_path: Path, sequence: Callable[..., Path]
) -> None:
    for name in ('one', 'two'):
        sequence(tmp_path / 'video' / name, 8)
    edge = tmp_path / 'video' / 'two' / 'groundtruth.txt'
    rows = edge.read_text().splitlines()
    edge.write_text('\n'.join([*rows[:-1], ','.join(map(str, OUTSIDE))]))
    (edge.parent / ANCHOR_FILE).write_text('1\n' + '0\n' * 6 + '-1\n')  # as set by hand
    clips = read_clips('plain', tmp_path / 'video')
    evaluation = Evaluation(PROTOCOLS['plain'], clips, tmp_path / 'video', tmp_path / 'out')
    entry = Entry('mil', OpenCvSpec('mil'))
    score, left_out = run_multi_start(evaluation, entry, quietly)
    (reason,) = left_out
    assert reason.startswith('two: from frame 7: OpenCV MIL cannot start from the box 126 30 32 24')
    alone = replace(evaluation, clips=clips[:1])
    expected, none = run_multi_start(alone, entry, quietly)
    assert none == []
    assert score[:3] == expected[:3]
    with pytest.raises(ValueError, match=r'mil: no sequence for --multi-start; two: from frame 7'):
        run_multi_start(replace(evaluation, clips=clips[1:]), entry, quietly)


def test_the_still_tracker_starts_with_any_box(clip: Clip, tmp_path: Path) -> None:
    evaluation = Evaluation(PROTOCOLS['plain'], [clip], tmp_path / 'video', tmp_path / 'out')
    score, left_out = run_multi_start(evaluation, Entry('still', StillSpec()), quietly)
    assert left_out == []
    assert np.isfinite([score.accuracy, score.robustness, score.eao]).all()
