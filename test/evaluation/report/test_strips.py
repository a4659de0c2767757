# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from hcat_ros.evaluation.report.strips import drawn_frame, failures, moments

NAN = float('nan')


def track(*parts: tuple[int, float]) -> np.ndarray:
    """Return overlaps from pairs of a number of frames and their value."""
    return np.concatenate([np.full(count, value) for count, value in parts])


@pytest.mark.parametrize(
    ('overlaps', 'expected'),
    [
        (track((50, 0.8)), []),
        (track((20, 0.8), (1, 0.0), (20, 0.8)), [(20, 21)]),
        (track((20, 0.8), (4, 0.1), (20, 0.8)), []),
        (track((20, 0.8), (5, 0.1), (3, 0.4), (20, 0.8)), [(20, 28)]),
        (track((20, 0.8), (30, 0.0)), [(20, None)]),
        (track((20, 0.8), (3, 0.1), (4, NAN), (2, 0.1), (20, 0.8)), [(20, 29)]),
        (track((5, 0.8), (2, 0.0), (5, 0.8), (2, 0.0), (5, 0.3)), [(5, 7), (12, None)]),
        (track((9, NAN)), []),
        (np.empty(0), []),
    ],
)
def test_failures_are_the_intervals_of_low_overlap(
    overlaps: np.ndarray, expected: list[tuple[int, int | None]]
) -> None:
    assert failures(overlaps) == expected


def test_moments_of_a_track_with_a_failure() -> None:
    overlaps = track((1, NAN), (19, 0.8), (2, 0.4), (40, 0.0), (20, 0.8))
    assert [tuple(moment) for moment in moments(overlaps)] == [
        (0, 'start'),
        (19, 'last good'),
        (22, 'missed'),
        (32, 'after'),
        (42, 'after'),
        (62, 'found again'),
    ]


def test_moments_of_a_track_without_a_failure() -> None:
    overlaps = track((1, NAN), (19, 0.8), (1, 0.45), (20, 0.9))
    assert [tuple(m) for m in moments(overlaps)] == [(0, 'start'), (20, 'lowest IoU'), (40, 'end')]


def test_the_number_of_moments_is_limited() -> None:
    overlaps = track(*[(10, 0.8), (10, 0.0)] * 20)
    assert len(moments(overlaps)) == 9
    assert len(moments(overlaps, most=30)) > 20
    assert [m.what for m in moments(overlaps, most=4)] == [
        'start',
        'last good',
        'missed',
        'found again',
    ]


def test_moments_without_truth_are_only_the_start() -> None:
    assert [tuple(m) for m in moments(np.full(30, np.nan))] == [(0, 'start')]


def test_boxes_are_drawn_at_their_positions() -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    truth, track = (100, 100, 200, 160), (300, 200, 200, 160)
    picture, zoom = drawn_frame(image, truth, [(0, track)])
    assert picture.shape == (240, 320, 3)
    assert zoom == 1
    assert (picture[90, 50] > 220).all()  # the left side of the truth, at half the size
    b, g, r = picture[140, 150].astype(int)  # and of the track, blue
    assert b > g > r
    assert (picture[10, 10] == 90).all()


def test_a_small_target_is_enlarged_with_both_boxes_visible() -> None:
    image = np.full((720, 1280, 3), 90, np.uint8)
    picture, zoom = drawn_frame(image, (1000, 600, 20, 20), [(0, (940, 560, 20, 20))])
    assert zoom == pytest.approx(3, abs=0.01)
    assert (picture > 200).all(axis=2).any()
    far, zoom = drawn_frame(image, (1200, 600, 20, 20), [(0, (20, 20, 20, 20))])
    assert zoom == 1
    assert (far[:20, :20] != 90).any()


@pytest.mark.parametrize('box', [(NAN,) * 4, (1e300, -1e300, 5, 5), (0, 0, 0, 0), (5, 5, -3, -3)])
def test_invalid_boxes_are_not_drawn(box: tuple[float, ...]) -> None:
    image = np.full((48, 64, 3), 90, np.uint8)
    picture, _ = drawn_frame(image, (NAN,) * 4, [(0, box)])
    assert picture.shape == (240, 320, 3)
    picture, _ = drawn_frame(image, (10, 10, 20, 20), [(7, box), (8, (12, 12, 20, 20))])
    assert (picture > 200).all(axis=2).any()
