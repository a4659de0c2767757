# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.drawing import draw_box, draw_track
from hcat_ros.tracking import TargetState, Track


def render_track(track: Track, shape: tuple[int, int] = (360, 640), text: str = '') -> np.ndarray:
    image = np.zeros((*shape, 3), np.uint8)
    draw_track(image, track, text)
    return image


BOX = Box(100, 120, 80, 60)
FAR = Box(1e10, -1e10, 2e10, 1e10)
"""Coordinates beyond the 32-bit integers that OpenCV draws with."""


def track(box: Box = BOX, score: float = 0.5, lost: bool = False) -> Track:
    return Track(box, score, TargetState.LOST if lost else TargetState.TRACKING)


def test_only_the_border_of_the_box_is_drawn() -> None:
    image = render_track(track())
    for x, y in ((100, 150), (180, 150), (140, 120), (140, 180)):
        assert image[y, x].any(), (x, y)
    assert not image[130:170, 110:170].any()
    assert not image[190:, :].any()
    assert not image[:, 200:].any()


def test_box_colour_shows_the_target_state() -> None:
    _, green, red = render_track(track())[150, 100].astype(int)
    assert green > red
    _, green, red = render_track(track(lost=True))[150, 100].astype(int)
    assert red > green
    unsure = render_track(Track(BOX, 0.5, TargetState.UNCERTAIN))
    _, green, red = unsure[150, 100].astype(int)
    assert red > green > 0.7 * red


def test_score_is_drawn_unless_the_target_is_lost() -> None:
    assert (render_track(track(score=0.5)) != render_track(track(score=0.9))).any()
    assert (
        render_track(track(score=0.5, lost=True)) == render_track(track(score=0.9, lost=True))
    ).all()


def test_text_is_drawn_in_the_lower_left_corner() -> None:
    plain, written = render_track(track()), render_track(track(), text='frame 7')
    rows, columns = np.nonzero((plain != written).any(axis=2))
    assert rows.min() > 320
    assert 20 < columns.max() < 120


@pytest.mark.parametrize('box', [Box(0, 0, 80, 60), Box(620, 330, 20, 30), Box(-30, -30, 50, 50)])
def test_score_text_stays_inside_the_image(box: Box) -> None:
    one, other = render_track(track(box, score=0.11)), render_track(track(box, score=0.88))
    rows, columns = np.nonzero((one != other).any(axis=2))
    assert rows.size > 20
    assert np.ptp(rows) >= 5
    assert np.ptp(columns) >= 5


@pytest.mark.parametrize(
    'box',
    [
        Box(-50, -20, 100, 60),
        Box(600, 340, 200, 200),
        Box(-10, -10, 900, 900),
        Box(5e4, 0, 9, 9),
        FAR,
    ],
)
@pytest.mark.parametrize('shape', [(360, 640), (1, 1), (2160, 30)])
def test_box_outside_the_frame_is_no_error(box: Box, shape: tuple[int, int]) -> None:
    image = render_track(track(box), shape)
    assert image.shape == (*shape, 3)


def test_boxes_beyond_32_bit_coordinates_are_clipped() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    draw_box(image, FAR, (255, 255, 255), 2)
    assert not image.any()
    draw_box(image, (-1e10, 20, 2e10, 1e10), (255, 255, 255), 1)
    rows, columns = np.nonzero(image.any(axis=2))
    assert set(rows) == {20}
    assert set(columns) == set(range(80))
