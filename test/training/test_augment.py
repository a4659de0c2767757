# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcat_ros.boxes import Box, iou
from hcat_ros.training import augment

Rng = np.random.Generator
BOX = Box(30.4, 20.7, 50.2, 33.3)
CHANGES: dict[str, Callable[[np.ndarray, Rng], np.ndarray]] = {
    'recolour': augment.recolour,
    'brighten': lambda image, rng: augment.brighten(image, rng, 0.2),
    'grey': lambda image, rng: augment.grey(image),
    'low_resolution': augment.low_resolution,
    'motion_blur': augment.motion_blur,
    'noise': augment.noise,
    'occlude': lambda image, rng: augment.occlude(image, BOX, rng),
    'add_distractor': lambda image, rng: augment.add_distractor(
        image, BOX, np.full((20, 30, 4), 255, np.uint8), rng
    ),
}


def test_a_random_square_is_a_piece_of_the_photograph() -> None:
    photo = np.zeros((60, 100, 3), np.uint8)
    photo[..., 0], photo[..., 1] = np.arange(100), np.arange(60)[:, None]  # each pixel's x, y
    found = set()
    for seed in range(40):
        piece = augment.random_square(photo, 32, np.random.default_rng(seed)).astype(int)
        assert piece.shape == (32, 32, 3)
        x, y = piece[0, :, 0], piece[:, 0, 1]
        assert piece[..., 0] == pytest.approx(np.broadcast_to(x, (32, 32)), abs=1)
        assert piece[..., 1] == pytest.approx(np.broadcast_to(y[:, None], (32, 32)), abs=1)
        # As wide as high, between 0.4 and 1 of the shorter side.
        assert np.ptp(x) == pytest.approx(np.ptp(y), abs=1)
        assert 0.4 * 60 - 2 <= np.ptp(x) <= 60
        found.add((x[0], y[0], np.ptp(x)))
    assert len(found) > 20


@pytest.fixture
def image(picture: Callable[..., np.ndarray]) -> np.ndarray:
    """A read-only image."""
    made = picture(128, 128, 4)
    made.flags.writeable = False
    return made


@pytest.mark.parametrize('name', CHANGES)
def test_an_augmentation_keeps_shape_and_type_and_does_not_modify_its_input(
    image: np.ndarray, name: str
) -> None:
    before = image.copy()
    changed = 0
    for seed in range(12):
        one = CHANGES[name](image, np.random.default_rng(seed))
        assert one.shape == image.shape
        assert one.dtype == np.uint8
        assert (one == CHANGES[name](image, np.random.default_rng(seed))).all()
        changed += bool((one != image).any())
    assert changed > 8
    assert (image == before).all()


@pytest.mark.parametrize('size', [128, 256])
@pytest.mark.parametrize('level', [0, 255])
def test_pixel_values_do_not_overflow(size: int, level: int) -> None:
    flat = np.full((size, size, 3), level, np.uint8)
    for seed in range(10):
        for name in ('recolour', 'brighten', 'noise', 'motion_blur', 'low_resolution'):
            found = CHANGES[name](flat, np.random.default_rng(seed)).astype(int)
            assert np.abs(found - level).max() < 128, name


def test_strength_0_changes_nothing(image: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    assert (augment.recolour(image, rng, 0.0) == image).all()
    assert (augment.brighten(image, rng, 0.0) == image).all()


def test_brightness_changes_within_its_share() -> None:
    flat = np.full((8, 8, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    levels = [int(augment.brighten(flat, rng, 0.2)[0, 0, 0]) for _ in range(300)]
    assert (min(levels), max(levels)) == (80, 120)


def test_grey_has_three_equal_channels(image: np.ndarray) -> None:
    found = augment.grey(image)
    assert (found[:, :, 0] == found[:, :, 1]).all()
    assert (found[:, :, 0] == found[:, :, 2]).all()


def test_a_flat_image_stays_flat_when_blurred_or_downsampled() -> None:
    flat = np.full((64, 64, 3), 77, np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert (np.abs(augment.motion_blur(flat, rng).astype(int) - 77) <= 1).all()
        assert (augment.low_resolution(flat, rng) == 77).all()


def test_motion_blur_is_along_a_line() -> None:
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[20, 20] = 255
    for seed in range(20):
        ys, xs = np.nonzero(augment.motion_blur(dot, np.random.default_rng(seed))[:, :, 0] > 5)
        assert 2 <= np.hypot(np.ptp(xs), np.ptp(ys)) + 1 <= 17
        # The spread across the line is small.
        spread = np.linalg.eigvalsh(np.cov(np.stack([xs, ys]).astype(float)))
        assert spread[0] < 0.8


def test_noise_has_the_stated_strength() -> None:
    flat = np.full((256, 256, 3), 128, np.uint8)
    spreads = [augment.noise(flat, np.random.default_rng(s)).std() for s in range(40)]
    assert 1.5 < min(spreads) < 4
    assert 9 < max(spreads) < 13


@given(
    st.integers(0, 10_000),
    st.floats(-60, 120),
    st.floats(-60, 120),
    st.floats(1, 100),
    st.floats(1, 100),
)
def test_an_occluder_stays_inside_of_the_box(
    seed: int, x: float, y: float, w: float, h: float
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (128, 128, 3), np.uint8)
    found = augment.occlude(image, Box(x, y, w, h), rng)
    ys, xs = np.nonzero((found != image).any(axis=2))
    if len(xs):  # to the pixel
        assert xs.min() >= x - 1
        assert xs.max() + 1 <= x + w + 1
        assert ys.min() >= y - 1
        assert ys.max() + 1 <= y + h + 1
        assert (np.ptp(xs) + 1) * (np.ptp(ys) + 1) <= 0.5 * w * h + w + h + 1


def test_occluders_come_from_every_side(image: np.ndarray) -> None:
    box = Box(40, 40, 40, 40)
    sides = set()
    for seed in range(60):
        found = augment.occlude(image, box, np.random.default_rng(seed))
        ys, xs = np.nonzero((found != image).any(axis=2))
        if len(xs):
            sides |= {
                side for side, v in zip('lrtb', (xs < 48, xs >= 72, ys < 48, ys >= 72)) if v.all()
            }
    assert sides == set('lrtb')


def test_pasting_blends_by_alpha() -> None:
    image = np.full((20, 20, 3), 100, np.uint8)
    cutout = np.full((4, 6, 4), 200, np.uint8)
    for alpha, expected in ((0, 100), (255, 200), (128, 150)):
        cutout[:, :, 3] = alpha
        under = image.copy()
        augment.paste(under, cutout, Box(5, 8, 6, 4))
        assert under[8:12, 5:11] == pytest.approx(expected, abs=1)
        under[8:12, 5:11] = 100
        assert (under == 100).all()


@pytest.mark.parametrize(
    ('box', 'pixels'),
    [
        (Box(-3, -2, 6, 4), (0, 0, 3, 2)),
        (Box(17, 18, 6, 4), (17, 18, 3, 2)),
        (Box(-5, -5, 40, 40), (0, 0, 20, 20)),
        (Box(5.4, 5.6, 6.4, 3.6), (5, 6, 6, 4)),
        (Box(30, 5, 6, 4), None),
        (Box(5, -4, 6, 4), None),
    ],
)
def test_a_pasted_cutout_is_clipped_at_the_image(box: Box, pixels: tuple[int, ...] | None) -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    augment.paste(image, np.full((4, 6, 4), 255, np.uint8), box)
    expected = np.zeros_like(image)
    if pixels:
        x, y, w, h = pixels
        expected[y : y + h, x : x + w] = 255
    assert (image == expected).all()


@pytest.mark.parametrize('box', [Box(60, 60, 50, 40), Box(-200, 10, 40, 40), Box(5, 5, 4, 4)])
@pytest.mark.parametrize('cutouts', [[], [np.full((20, 30, 4), 255, np.uint8)]])
def test_distractors_are_cut_outs_or_copies_of_the_object(
    picture: Callable[..., np.ndarray], box: Box, cutouts: list[np.ndarray]
) -> None:
    crop = picture(256, 256, 1)
    shapes = set()
    for seed in range(20):
        other = augment.choose_distractor(crop, box, cutouts, 0.5, np.random.default_rng(seed))
        assert other.dtype == np.uint8
        assert set(np.unique(other[:, :, 3])) <= {0, 255}
        shapes.add(other.shape)
    visible = box == Box(60, 60, 50, 40)
    twin, other = (40, 50, 4) if visible else (64, 64, 4), (20, 30, 4)
    assert shapes == ({twin} if not cutouts else {twin, other} if visible else {other})


@given(
    st.integers(0, 10_000),
    st.floats(0, 80),
    st.floats(0, 80),
    st.floats(10, 100),
    st.floats(10, 100),
)
def test_a_distractor_hardly_overlaps_the_target(
    seed: int, x: float, y: float, w: float, h: float
) -> None:
    target = Box(x, y, w, h)
    image = np.zeros((128, 128, 3), np.uint8)
    other = np.full((20, 30, 4), 255, np.uint8)
    placed: list[Box] = []
    original = augment.paste

    def paste(image: np.ndarray, cutout: np.ndarray, box: Box) -> None:
        placed.append(box)
        original(image, cutout, box)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augment, 'paste', paste)
        found = augment.add_distractor(image, target, other, np.random.default_rng(seed))
    assert len(placed) <= 1
    assert bool(placed) or found is image
    for box in placed:
        assert iou(box, target) <= 0.05
        assert box.w / box.h == pytest.approx(1.5)
        assert 0.3 < np.sqrt(box.w * box.h / (w * h)) < 3.4  # 4.5 deviations


def test_no_distractor_is_added_beside_a_target_that_fills_the_crop(
    image: Any,
) -> None:
    other = np.full((20, 20, 4), 255, np.uint8)
    box = Box(-10, -10, 150, 150)
    unchanged = [
        augment.add_distractor(image, box, other, np.random.default_rng(seed)) is image
        for seed in range(30)
    ]
    assert sum(unchanged) > 20
