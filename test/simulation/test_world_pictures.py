# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hcat_ros.simulation.pictures import load_pictures, trimmed

Picture = Callable[[int, int, int], np.ndarray]
Write = Callable[[Path, np.ndarray], Path]


@pytest.fixture
def folder(tmp_path: Path, picture: Picture, write_image: Write) -> Path:
    for seed in range(8):
        write_image(tmp_path / 'photos' / f'{seed}.png', picture(120, 180, seed))
    mask = np.zeros((240, 160), np.uint8)
    mask[20:220, 30:130] = 255
    for seed in range(3):
        cutout = np.dstack((picture(240, 160, seed), mask))
        write_image(tmp_path / 'cutouts' / f'{seed}.png', cutout)
    # Unsuitable cutouts: without alpha, tiny, a silhouette.
    write_image(tmp_path / 'cutouts' / 'opaque.png', picture(240, 160, 9))
    write_image(tmp_path / 'cutouts' / 'tiny.png', np.full((20, 20, 4), 255, np.uint8))
    write_image(
        tmp_path / 'cutouts' / 'black.png', np.dstack((np.zeros((240, 160, 3), np.uint8), mask))
    )
    return tmp_path


def test_the_seed_determines_the_pictures(folder: Path) -> None:
    first, again, other = (
        load_pictures(folder, np.random.default_rng(seed), targets=2) for seed in (1, 1, 2)
    )
    assert all((a == b).all() for a, b in zip(first.panorama, again.panorama))
    assert (first.targets[0] == again.targets[0]).all()
    assert any(
        a.shape != b.shape or (a != b).any() for a, b in zip(first.targets, other.targets)
    ) or any((a != b).any() for a, b in zip(first.panorama, other.panorama))


@pytest.mark.parametrize('seed', range(6))
def test_targets_are_trimmed_to_their_opaque_part(folder: Path, seed: int) -> None:
    for target in load_pictures(folder, np.random.default_rng(seed), targets=3).targets:
        assert target.shape == (200, 100, 4)
        assert target[..., :3].std() > 25


def test_missing_pictures_are_named_in_the_error(
    tmp_path: Path, folder: Path, write_image: Write
) -> None:
    with pytest.raises(FileNotFoundError, match=r'nowhere.photos: expected a folder with photos/'):
        load_pictures(tmp_path / 'nowhere', np.random.default_rng(0))
    for number in range(3):
        (folder / 'cutouts' / f'{number}.png').unlink()
    with pytest.raises(ValueError, match=r'no target in .*cutouts: expected images with alpha'):
        load_pictures(folder, np.random.default_rng(0))
    for path in (folder / 'photos').iterdir():
        path.write_bytes(b'no picture')
    with pytest.raises(ValueError, match='can be read in'):
        load_pictures(folder, np.random.default_rng(0))


@pytest.mark.parametrize('seed', range(4))
def test_generated_pictures_have_detail_and_differ(seed: int) -> None:
    made = load_pictures(None, np.random.default_rng(seed), targets=2)
    other = load_pictures(None, np.random.default_rng(seed + 100))
    assert (made.ground != other.ground).any()
    assert (made.targets[0] != made.targets[1]).any()
    for image in (*made.panorama, made.ground, made.board):
        assert image.dtype == np.uint8
        assert image.std() > 15
    solid = made.targets[0][..., 3] >= 128
    assert 0.4 < solid.mean() < 0.9


def test_a_fully_transparent_picture_is_trimmed_to_nothing() -> None:
    assert trimmed(np.zeros((5, 5, 4), np.uint8)).size == 0
