# SPDX-License-Identifier: Apache-2.0
"""Crops for training: they match the tracker's own crops, and boxes fit the object."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hcat_ros.boxes import Box
from hcat_ros.tracking.crop import crop_resized, crop_side, mean_colour
from hcat_ros.training import views
from hcat_ros.training.views import (
    PHOTO_WARP,
    SEARCH_JITTER,
    TEMPLATE_JITTER,
    Geometry,
    Jitter,
    Warp,
    relative_box,
    search_view,
    template_view,
)

View = Callable[..., tuple[np.ndarray, Box]]
STILL, FLAT = Jitter(), Warp()
KINDS: list[tuple[View, int, int]] = [(template_view, 2, 128), (search_view, 4, 256)]


def scene(box: Box, shape: tuple[int, int] = (400, 600), ellipse: bool = False) -> np.ndarray:
    """A white rectangle or ellipse at the box (whole pixels) on a black background."""
    image = np.zeros((*shape, 3), np.uint8)
    x, y, w, h = (round(value) for value in box)
    if ellipse:
        ys, xs = np.mgrid[: shape[0], : shape[1]] + 0.5
        inside = ((xs - box.cx) / (box.w / 2)) ** 2 + ((ys - box.cy) / (box.h / 2)) ** 2 <= 1
        image[inside] = 255
    else:
        image[y : y + h, x : x + w] = 255
    return image


def detected(crop: np.ndarray) -> Box:
    """The bounding box of the white pixels."""
    return Box(*(float(v) for v in cv2.boundingRect((crop[:, :, 0] > 127).astype(np.uint8))))


def assert_near(found: Box, expected: Box, tolerance: float) -> None:
    corners = [(b.x, b.y, b.x + b.w, b.y + b.h) for b in (found, expected)]
    assert corners[0] == pytest.approx(corners[1], abs=tolerance)


@pytest.mark.parametrize(('view', 'factor', 'size'), KINDS)
@pytest.mark.parametrize(
    ('x', 'y', 'w', 'h'),
    [(200, 150, 60, 80), (300, 200, 12, 10), (190, 140, 220, 120), (250, 100, 33, 77)],
)
def test_a_view_without_jitter_matches_the_trackers_own_crop(
    picture: Callable[..., np.ndarray],
    view: View,
    factor: int,
    size: int,
    x: int,
    y: int,
    w: int,
    h: int,
) -> None:
    frame = cv2.GaussianBlur(picture(1000, 1200, 3), (0, 0), 3)
    box = Box(x + 300.0, y + 300.0, w, h)
    side = crop_side(w, h, factor)
    # The tracker crops at whole pixels, so choose a centre whose crop starts at one.
    box = Box.from_center(
        math.floor(box.cx) + side / 2 % 1, math.floor(box.cy) + side / 2 % 1, w, h
    )
    crop, inside = view(frame, box, np.random.default_rng(0), size, FLAT, False, STILL)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    assert (inside.cx, inside.cy) == pytest.approx((size / 2, size / 2), abs=1e-9)
    assert (inside.w, inside.h) == pytest.approx((w * size / side, h * size / side), rel=1e-12)
    expected = crop_resized(frame, box.cx, box.cy, side, size, mean_colour(frame))
    # At the border of the crop, the tracker's resizing has no neighbouring pixels.
    margin = math.ceil(size / side / 2)
    difference = np.abs(crop.astype(int) - expected)[margin:-margin, margin:-margin]
    assert difference.max() <= 3
    assert difference.mean() < 0.6


@pytest.mark.parametrize(('view', 'factor', 'size'), KINDS)
def test_pixels_outside_of_the_image_have_the_mean_colour(
    view: View, factor: int, size: int
) -> None:
    frame = np.full((100, 100, 3), (200, 100, 50), np.uint8)
    frame[:50] //= 2
    crop, _ = view(frame, Box(-20, -20, 40, 40), np.random.default_rng(0), size, FLAT, False, STILL)
    assert crop[2, 2].tolist() == pytest.approx([150, 75, 37.5], abs=1)


@given(
    st.sampled_from(KINDS),
    st.booleans(),
    st.integers(8, 120),
    st.integers(8, 120),
    st.integers(0, 10_000),
)
def test_the_box_fits_the_object(
    kind: tuple[View, int, int], mirror: bool, w: int, h: int, seed: int
) -> None:
    view, _, size = kind
    box = Box(240, 140, w, h)
    crop, inside = view(scene(box), box, np.random.default_rng(seed), size, FLAT, mirror)
    assume(inside.x > 2 and inside.x + inside.w < size - 2)
    assume(inside.y > 2 and inside.y + inside.h < size - 2)
    assert_near(detected(crop), inside, 1.0)


@given(st.sampled_from(KINDS), st.booleans(), st.integers(0, 10_000))
def test_the_box_of_a_warped_view_fits_an_elliptical_object(
    kind: tuple[View, int, int], mirror: bool, seed: int
) -> None:
    view, _, size = kind
    box = Box(240, 140, 90, 40)
    warp = Warp(rotation=20, aspect=0.2, shear=0.1)
    image = scene(box, ellipse=True)
    crop, inside = view(image, box, np.random.default_rng(seed), size, warp, mirror)
    assume(inside.x > 2 and inside.x + inside.w < size - 2)
    assume(inside.y > 2 and inside.y + inside.h < size - 2)
    assert_near(detected(crop), inside, 1.5)


def test_mirroring_swaps_left_and_right(picture: Callable[..., np.ndarray]) -> None:
    frame = picture(300, 400, 1)
    box = Box(150, 100, 40, 60)
    for view, _, size in KINDS:
        plain, inside = view(frame, box, np.random.default_rng(0), size, FLAT, False, STILL)
        other, mirrored = view(frame, box, np.random.default_rng(0), size, FLAT, True, STILL)
        assert_near(mirrored, inside, 1e-9)
        assert np.abs(other[:, ::-1].astype(int) - plain).max() <= 3


def test_a_view_depends_only_on_the_state_of_the_generator(
    picture: Callable[..., np.ndarray],
) -> None:
    frame = picture(200, 200, 1)
    before = frame.copy()
    for view, _, size in KINDS:
        found = [
            view(frame, Box(50, 60, 40, 30), np.random.default_rng(seed), size, PHOTO_WARP, False)
            for seed in (1, 1, 2)
        ]
        assert (found[0][0] == found[1][0]).all()
        assert found[0][1] == found[1][1]
        assert found[0][1] != found[2][1]
    assert (frame == before).all()


@pytest.mark.parametrize(
    ('jitter', 'spread', 'scale'),
    [
        (Jitter(near=0.2, near_scale=0.1), 0.2, 0.1),
        (Jitter(far=1.5, far_scale=0.25, far_share=1.0), 1.5 / 3**0.5, 0.25),
        (STILL, 0, 0),
    ],
)
def test_jitter_has_the_stated_spread(jitter: Jitter, spread: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    dx, dy, factor = np.array([jitter.draw(rng) for _ in range(4000)]).T
    assert (dx.std(), dy.std()) == pytest.approx((spread, spread), rel=0.05)
    assert np.log(factor).std() == pytest.approx(scale, rel=0.05)
    assert np.abs([dx.mean(), dy.mean(), np.log(factor).mean()]).max() < 0.06
    if jitter.far_share == 1:
        assert max(np.abs(dx).max(), np.abs(dy).max()) <= jitter.far


def test_jitter_shifts_by_target_sizes_and_scales_the_crop() -> None:
    class Scripted(Jitter):
        def draw(self, rng: Any) -> tuple[float, float, float]:
            return 0.5, -0.25, 2.0

    box = Box(200, 150, 40, 90)  # sqrt(w h) = 60
    _, inside = search_view(scene(box), box, np.random.default_rng(0), 256, FLAT, False, Scripted())
    side = crop_side(40, 90, 4) * 2
    assert inside.w == pytest.approx(40 * 256 / side)
    assert inside.cx == pytest.approx(128 - 30 * 256 / side)
    assert inside.cy == pytest.approx(128 + 15 * 256 / side)


def test_a_warp_keeps_the_area_and_can_be_scaled() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert np.linalg.det(PHOTO_WARP.draw(rng)) == pytest.approx(1)
    assert (FLAT.draw(rng) == np.eye(2)).all()
    assert PHOTO_WARP.times(1.0) == PHOTO_WARP
    assert PHOTO_WARP.times(0.0) == FLAT
    assert PHOTO_WARP.times(2.0) == Warp(14, 0.2, 0.1)


def test_defaults_are_those_of_the_recipe() -> None:
    assert Geometry() == Geometry(TEMPLATE_JITTER, SEARCH_JITTER, 1.0, 0.5)
    assert views.VIDEO_WARP.shear == 0
    with pytest.raises(ValueError, match=r'mirror 1\.5'):
        Geometry(mirror=1.5)


@pytest.mark.parametrize(
    ('box', 'expected', 'shown'),
    [
        (Box(64, 32, 128, 64), (0.5, 0.25, 0.5, 0.25), True),
        (Box(-64, 0, 128, 256), (0.125, 0.5, 0.25, 1), True),
        (Box(192, 192, 128, 128), (0.875, 0.875, 0.25, 0.25), True),  # a quarter
        (Box(193, 192, 128, 128), (449 / 512, 0.875, 63 / 256, 0.25), False),
        (Box(-300, 10, 100, 100), (0, 60 / 256, 0, 100 / 256), False),
        (Box(10, 400, 100, 100), (60 / 256, 1, 100 / 256, 0), False),
        (Box(-100, -100, 1000, 1000), (0.5, 0.5, 1, 1), False),  # 6 % of the object
    ],
)
def test_relative_boxes_are_clipped_at_the_crop(
    box: Box, expected: tuple[float, ...], shown: bool
) -> None:
    found, is_shown = relative_box(box, 256)
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(expected)
    assert is_shown == shown


COORDINATE = st.floats(-400, 400)


@given(COORDINATE, COORDINATE, st.floats(1, 500), st.floats(1, 500))
def test_relative_boxes_are_within_0_and_1(x: float, y: float, w: float, h: float) -> None:
    (cx, cy, rw, rh), shown = relative_box(Box(x, y, w, h), 256)
    for middle, extent in ((cx, rw), (cy, rh)):
        assert extent >= 0
        assert middle - extent / 2 >= -1e-6
        assert middle + extent / 2 <= 1 + 1e-6
    assert rw * rh * 256**2 <= w * h + 1e-2
    if shown:
        assert min(rw, rh) > 0


def test_the_given_surroundings_fill_only_pixels_outside_of_the_image() -> None:
    box = Box(20, 20, 40, 40)
    image = np.full((80, 80, 3), 200, np.uint8)
    ground = np.full((256, 256, 3), 30, np.uint8)
    how = (np.random.default_rng(0), 256, FLAT, False, STILL)
    filled, inside = search_view(image, box, *how, ground)
    plain, same = search_view(image, box, *how)
    assert inside == same
    assert (ground == 30).all()
    # The search region is twice as wide as the image, which covers the middle 128 of 256 px.
    assert (filled[66:190, 66:190] == 200).all()
    outside = np.ones((256, 256), bool)
    outside[62:194, 62:194] = False
    assert (filled[outside] == 30).all()
    assert (plain == 200).all()
