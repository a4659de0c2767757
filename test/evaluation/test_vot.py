# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcat_ros.evaluation.vot import (
    Anchor,
    anchored_run,
    anchors,
    eao_curve,
    multi_start,
    pixel_overlaps,
    read_anchors,
)

NAN = float('nan')
SIZE = (320, 240)
BOX = [20.0, 30.0, 40.0, 20.0]
AWAY = [200.0, 150.0, 40.0, 20.0]


def test_anchors_are_evenly_spaced_and_run_to_the_farther_end() -> None:
    assert anchors(120) == [(0, False), (50, False), (100, True), (119, True)]
    assert anchors(101) == [(0, False), (50, False), (100, True)]
    assert anchors(1) == [(0, False)]
    assert anchors(4, period=2) == [(0, False), (2, True), (3, True)]
    assert list(Anchor(2, True).order(4)) == [2, 1, 0]
    assert list(Anchor(2, False).order(4)) == [2, 3]
    for count in range(1, 260):
        for anchor in anchors(count):
            assert len(anchor.order(count)) >= (count + 1) // 2


def test_an_anchor_moves_to_the_next_frame_where_a_tracker_can_start() -> None:
    usable = np.ones(120, bool)
    usable[0:3] = usable[98:101] = usable[110:] = False
    assert anchors(120, usable=usable) == [(3, False), (50, False), (97, True), (109, True)]
    usable[50:] = False
    assert anchors(120, usable=usable) == [(3, False)]
    assert anchors(120, usable=np.zeros(120, bool)) == []


def test_wrong_counts_are_refused() -> None:
    with pytest.raises(ValueError, match='0 frames'):
        anchors(0)
    with pytest.raises(ValueError, match=r'shape \(3,\), expected \(4,\)'):
        anchors(4, usable=[True] * 3)
    with pytest.raises(ValueError, match=r'\(3, 4\) from frame 1 of 4 backward, expected \(2, 4\)'):
        anchored_run(Anchor(1, True), [BOX] * 3, [BOX] * 4, SIZE)
    with pytest.raises(ValueError, match='without a run'):
        multi_start([])
    run = anchored_run(Anchor(1, True), [BOX] * 2, [BOX] * 4, SIZE)
    with pytest.raises(ValueError, match='without a run'):
        multi_start([[run], []])
    with pytest.raises(ValueError, match='5 to 5'):
        multi_start([[run]], (5, 5))


def test_anchors_are_read_from_the_file_of_a_vot_sequence(tmp_path: Path) -> None:
    path = tmp_path / 'anchor.value'
    path.write_text('1\n0\n0.0\n-1\n')
    assert read_anchors(path, 6) == [(0, False), (3, True)]
    with pytest.raises(ValueError, match='4 numbers for 3 frames'):
        read_anchors(path, 3)
    path.write_text('0\n0\n')
    with pytest.raises(ValueError, match='has no anchor'):
        read_anchors(path, 3)
    path.write_text('one\n')
    with pytest.raises(ValueError, match=r'anchor\.value: expected a number'):
        read_anchors(path, 3)


@pytest.mark.parametrize(
    ('box', 'truth', 'overlap'),
    [
        (BOX, BOX, 1.0),
        ([0, 0, 10, 10], [5, 0, 10, 10], 1 / 3),
        ([0.4, 0, 10, 10], [5.4, 0, 10, 10], 1 / 3),  # whole pixels
        ([11.49999999, 0, 10, 10], [12, 0, 10, 10], 1.0),  # rounded as float32, as in the toolkit
        ([-5, 0, 10, 10], [0, 0, 5, 10], 1.0),  # pixels outside the frame do not count
        ([315, 0, 50, 10], [315, 0, 5, 10], 1.0),
        ([NAN] * 4, BOX, 0.0),
        (BOX, [NAN] * 4, 0.0),
        ([NAN] * 4, [NAN] * 4, 1.0),
        ([400, 0, 10, 10], [410, 0, 10, 10], 0.0),
    ],
)
def test_overlap_counts_whole_pixels_inside_the_frame(box: Any, truth: Any, overlap: float) -> None:
    assert pixel_overlaps([box], [truth], SIZE) == pytest.approx([overlap])


def test_ten_misses_in_a_row_fail_at_the_first_miss() -> None:
    truth = [BOX] * 40
    boxes = [BOX] * 5 + [AWAY] * 9 + [BOX] + [AWAY] * 10 + [BOX] * 15
    run = anchored_run(Anchor(0, False), boxes, truth, SIZE)
    assert run.failed
    assert run.kept == 15
    assert run.overlaps.tolist() == [0] + [1] * 4 + [0] * 9 + [1] + [0] * 25
    found = multi_start([[run]], (2, 60))
    assert found.accuracy == pytest.approx(5 / 15)
    assert found.robustness == pytest.approx(15 / 40)


@pytest.mark.parametrize(('width', 'failed'), [(10, True), (11, False)])
def test_an_overlap_of_a_tenth_is_a_miss(width: int, failed: bool) -> None:
    boxes, truth = [[0, 0, width, 10]] * 20, [[0, 0, 100, 10]] * 20
    assert anchored_run(Anchor(0, False), boxes, truth, SIZE).failed is failed


def test_the_default_eao_range_is_that_of_vot_since_2020() -> None:
    run = anchored_run(Anchor(0, False), [BOX] * 755, [BOX] * 755, SIZE)
    assert multi_start([[run]]).eao == 1
    assert multi_start([[run]]).eao_curve.tolist() == [0] + [1] * 754
    short = anchored_run(Anchor(0, False), [BOX] * 115, [BOX] * 115, SIZE)
    assert multi_start([[short]]).eao == 0


def test_frames_without_a_target_are_not_misses() -> None:
    truth = [BOX] * 5 + [[NAN] * 4] * 12 + [BOX] * 3
    run = anchored_run(Anchor(19, True), [AWAY] * 20, truth, SIZE)
    assert not run.failed  # 3 misses, 12 frames without a target, 5 misses


def test_a_backward_run_is_compared_with_the_truth_in_reverse() -> None:
    truth = np.array([BOX] * 30)
    truth[:, 0] += np.arange(30) * 5
    run = anchored_run(Anchor(20, True), truth[20::-1], truth, SIZE)
    assert run.overlaps.tolist() == [0] + [1] * 20


def test_the_eao_curve_falls_only_where_runs_fail() -> None:
    truth = [BOX] * 60
    good = anchored_run(Anchor(0, False), [BOX] * 60, truth, SIZE)
    bad = anchored_run(Anchor(0, False), [BOX] * 21 + [AWAY] * 39, truth, SIZE)
    curve = eao_curve([good], 100)
    assert curve.tolist() == [0] + [1] * 59 + [0] * 40  # unknown after the end
    curve = eao_curve([good, bad], 100)
    assert curve[20] == 1
    assert curve[40] == pytest.approx((1 + 20 / 40) / 2)
    assert curve[90] == pytest.approx(20 / 89)
    found = multi_start([[good, bad]], (10, 100))
    assert found.eao == pytest.approx(curve[10:].mean())
    assert found.eao_curve.tolist() == curve.tolist()
