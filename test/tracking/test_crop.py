# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcat_ros.boxes import Box
from hcat_ros.tracking.crop import crop_resized, crop_side, mean_colour

FILL = (10.0, 20.0, 30.0)


@pytest.mark.parametrize(
    ('w', 'h', 'factor', 'expected'),
    [
        (60, 80, 2, 140),  # m = 70: sqrt(130 * 150) = 139.6
        (60, 80, 4, 280),  # m = 210: sqrt(270 * 290) = 279.8
        (50, 50, 2, 100),
        (50, 50, 4, 200),
        (1, 1, 2, 2),
    ],
)
def test_crop_side_of_known_target_sizes(w: float, h: float, factor: int, expected: int) -> None:
    assert crop_side(w, h, factor) == expected
    assert crop_side(h, w, factor) == expected


def test_crop_sides_match_the_reference(golden: Path) -> None:
    cases = json.loads((golden / 'steps.json').read_text())['cases']
    for case in cases:
        sizes = [case['init_box_xywh'][2:], *(box[2:] for box in case['boxes_xywh'])]
        assert crop_side(*sizes[0], 2) == case['template_crop_px']
        found = [crop_side(*size, 4) for size in sizes]
        assert found[: len(case['search_crop_px'])] == case['search_crop_px'][: len(found)]


@pytest.mark.parametrize('index', range(5))
@pytest.mark.parametrize(('name', 'factor', 'size'), [('template', 2, 128), ('search', 4, 256)])
def test_crops_match_the_reference(
    golden: Path, weights: ModuleType, index: int, name: str, factor: int, size: int
) -> None:
    frame = weights.image(360, 640, 5)
    cases = json.loads((golden / 'steps.json').read_text())['cases']
    boxes = [Box(*b) for b in dict.fromkeys(tuple(case['init_box_xywh']) for case in cases)]
    box = boxes[index]
    side = crop_side(box.w, box.h, factor)
    crop = crop_resized(frame, box.cx, box.cy, side, size, mean_colour(frame))
    with np.load(golden / 'crops.npz') as content:
        expected = content[f'{name}_{index}']
    assert np.abs(crop.astype(int) - expected).max() <= 1


def test_unscaled_crop_equals_the_pixels_of_the_frame(
    picture: Callable[..., np.ndarray],
) -> None:
    frame = picture(100, 120)
    # Columns from floor(cx - (s + 1) / 2 + 0.5), here 60 - 16.
    crop = crop_resized(frame, 60, 50, 32, 32, FILL)
    assert (crop == frame[34:66, 44:76]).all()


@pytest.mark.parametrize(
    ('cx', 'cy', 'outside'),
    [
        (0, 50, np.s_[:, :16]),
        (119, 50, np.s_[:, 17:]),
        (60, 0, np.s_[:16, :]),
        (60, 99, np.s_[17:, :]),
    ],
)
def test_area_outside_the_frame_has_the_fill_colour(
    picture: Callable[..., np.ndarray], cx: float, cy: float, outside: tuple[slice, slice]
) -> None:
    frame = np.maximum(picture(100, 120), 40)  # no pixel has the fill colour
    crop = crop_resized(frame, cx, cy, 32, 32, FILL)
    filled = (crop == np.array(FILL, np.uint8)).all(axis=2)
    assert filled[outside].all()
    assert filled.sum() == filled[outside].size


def test_fill_colour_does_not_bleed_into_the_image() -> None:
    frame = np.full((100, 100, 3), 200, np.uint8)
    crop = crop_resized(frame, 0, 0, 101, 256, FILL)
    colours = np.unique(crop.reshape(-1, 3), axis=0)
    assert colours.tolist() == [[10, 20, 30], [200, 200, 200]]


def test_padding_below_one_pixel_leaves_no_black_line() -> None:
    frame = np.full((1000, 1000, 3), 200, np.uint8)
    # One column of 1001 is outside: a quarter of a pixel of the crop.
    crop = crop_resized(frame, 500, 500, 1001, 256, (90.0, 90.0, 90.0))
    assert crop.min() >= 90


@pytest.mark.parametrize('shape', [(50, 60), (50, 60, 3), (50, 60, 4)])
@pytest.mark.parametrize('cx', [30, 0])
def test_crops_may_have_any_number_of_channels(shape: tuple[int, ...], cx: float) -> None:
    frame = np.full(shape, 77, np.uint8)
    crop = crop_resized(frame, cx, 25, 21, 32, mean_colour(frame))
    assert crop.shape == (32, 32, *shape[2:])
    assert crop.dtype == np.uint8
    assert (crop == 77).all()


@pytest.mark.parametrize(('cx', 'cy'), [(-17, 50), (137, 50), (60, -17), (60, 117), (1e9, 0)])
def test_a_crop_that_misses_the_frame_is_refused(cx: float, cy: float) -> None:
    with pytest.raises(ValueError) as error:
        crop_resized(np.zeros((100, 120, 3), np.uint8), cx, cy, 32, 32, FILL)
    assert 'a crop of 32 px' in str(error.value)
    assert 'lies outside of the 120x100 frame' in str(error.value)


@given(st.data())
def test_a_target_whose_centre_is_in_the_frame_always_gives_a_crop(data: st.DataObject) -> None:
    """For any frame, target size and factor; `Tracker.update` relies on it."""
    width, height = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70))
    cx, cy = data.draw(st.floats(0, width)), data.draw(st.floats(0, height))
    w, h = data.draw(st.floats(1, 2 * width + 9)), data.draw(st.floats(1, 2 * height + 9))
    factor, size = data.draw(st.sampled_from([(2, 128), (4, 256), (4, 32)]))
    frame = np.full((height, width, 3), 255, np.uint8)
    crop = crop_resized(frame, cx, cy, crop_side(w, h, factor), size, (1.0, 1.0, 1.0))
    assert crop.shape == (size, size, 3)
    assert set(np.unique(crop)) <= {1, 255}
    assert 255 in crop  # something of the frame is always seen


@pytest.mark.parametrize('shape', [(50, 60), (50, 60, 3), (50, 60, 4)])
def test_the_mean_colour_is_that_of_all_pixels(shape: tuple[int, ...]) -> None:
    frame = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    expected = np.atleast_1d(frame.mean(axis=(0, 1)))
    assert mean_colour(frame) == pytest.approx(tuple(expected), abs=1e-6)
    assert len(mean_colour(frame)) == len(expected)
