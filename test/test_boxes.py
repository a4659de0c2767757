# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hcat_ros.boxes import Box, checked_target_box, iou

coordinates = st.floats(-1e4, 1e4)
sizes = st.floats(1, 1e4)
boxes = st.builds(Box, coordinates, coordinates, sizes, sizes)


def test_box_is_top_left_and_size() -> None:
    box = Box.from_center(10, 20, 4, 6)
    assert box == (8, 17, 4, 6)
    assert (box.cx, box.cy) == (10, 20)


@given(boxes)
def test_box_is_rebuilt_from_its_center_and_size(box: Box) -> None:
    assert_allclose(Box.from_center(box.cx, box.cy, box.w, box.h), box, atol=1e-9)


@pytest.mark.parametrize(
    'box',
    [
        (10, 20, 30, 40),
        [0, 0, 640, 480],
        np.array([10, 20, 30, 40], np.float32),
        np.array([1, 2, 3, 4], np.uint8),
        (639, 479, 1, 1),
        (-27, 474, 30, 40),  # a tenth of it is in the frame
        (-100, -100, 1280, 960),
    ],
)
def test_valid_target_box_is_returned_as_floats(box: Any) -> None:
    checked = checked_target_box(box, 640, 480)
    assert isinstance(checked, Box)
    assert all(type(value) is float for value in checked)
    assert_allclose(checked, np.asarray(box, float))


@pytest.mark.parametrize(
    ('box', 'reason'),
    [
        ((10, 20, 30), 'four numbers x y w h, got (10, 20, 30)'),
        ((1, 2, 3, 4, 5), 'four numbers'),
        ([[1, 2, 3, 4]], 'four numbers'),
        ('left', "four numbers x y w h, got 'left'"),
        (None, 'four numbers x y w h, got None'),
        ((1, 2, None, 'b'), 'four numbers'),
        ([1, [2], 3, 4], 'four numbers'),
        ((math.nan, 20, 30, 40), 'x=nan y=20 w=30 h=40 is not finite'),
        ((10, 20, math.inf, 40), 'w=inf h=40 is not finite'),
        ((10, 20, 0, 40), 'w=0 h=40 is smaller than one pixel'),
        ((10, 20, 30, -40), 'h=-40 is smaller than one pixel'),
        ((10, 20, 0.99, 40), 'w=0.99 h=40 is smaller than one pixel'),
        ((640, 20, 30, 40), 'lies outside of the 640x480 frame'),
        ((10, -40, 30, 40), 'lies outside of the 640x480 frame'),
        ((-27.5, 20, 30, 40), 'lies outside of the 640x480 frame'),  # less than a tenth inside
        ((1e300, 1e300, 30, 40), 'lies outside of the 640x480 frame'),
        ((-1000, 0, 2000, 40), 'w=2000 h=40 is more than twice as large as the 640x480 frame'),
    ],
)
def test_invalid_target_box_is_refused_with_the_reason(box: Any, reason: str) -> None:
    with pytest.raises(ValueError) as error:
        checked_target_box(box, 640, 480)
    assert reason in str(error.value)


@given(st.tuples(*[st.floats()] * 4), st.integers(1, 200), st.integers(1, 200))
def test_any_four_floats_are_accepted_or_refused_with_a_reason(
    box: tuple[float, ...], width: int, height: int
) -> None:
    reason = ''
    try:
        checked = checked_target_box(box, width, height)
    except ValueError as error:
        reason = str(error)
    if reason:
        assert reason.startswith('box x=')
    else:
        assert 0 < iou(checked, (0, 0, width, height)) <= 1


@pytest.mark.parametrize(
    ('a', 'b', 'expected'),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1),
        ((0, 0, 10, 10), (5, 0, 10, 10), 1 / 3),
        ((0, 0, 10, 10), (2, 2, 5, 5), 0.25),
        ((0, 0, 10, 10), (10, 0, 10, 10), 0),  # they touch
        ((0, 0, 10, 10), (-50, -50, 1, 1), 0),
        ((0, 0, 10, 10), (0, 0, 0, 0), 0),
    ],
)
def test_iou_of_known_boxes(a: Any, b: Any, expected: float) -> None:
    assert iou(a, b) == pytest.approx(expected)
    assert iou(b, a) == pytest.approx(expected)


@pytest.mark.parametrize('b', [(math.nan, 0, 10, 10), (0, 0, math.nan, 10)])
def test_iou_with_a_nan_box_is_nan(b: Any) -> None:
    assert np.isnan(iou((0, 0, 10, 10), b))


def test_iou_of_two_empty_boxes_is_nan() -> None:
    assert np.isnan(iou((3, 3, 0, 0), (3, 3, 0, 0)))


def test_iou_broadcasts_and_equals_a_count_of_pixels() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 20, (7, 1, 4)), rng.integers(1, 20, (5, 4))
    found = iou(a, b)
    assert found.shape == (7, 5)

    def pixels(box: np.ndarray) -> set[tuple[int, int]]:
        x, y, w, h = (int(value) for value in box)
        return {(i, j) for i in range(x, x + w) for j in range(y, y + h)}

    for i in range(7):
        for j in range(5):
            first, second = pixels(a[i, 0]), pixels(b[j])
            assert found[i, j] == pytest.approx(len(first & second) / len(first | second))


@given(boxes, boxes)
def test_iou_is_symmetric_and_between_0_and_1(a: Box, b: Box) -> None:
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1 + 1e-9
