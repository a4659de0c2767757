# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hcat_ros.training.images import ImageCache

Write = Callable[..., Path]
SIZE = 24 * 32 * 3


@pytest.fixture
def paths(tmp_path: Path, write_image: Write) -> list[Path]:
    return [write_image(tmp_path / f'{number}.png', number) for number in range(5)]


def test_an_image_is_read_as_bgr(tmp_path: Path, write_image: Write) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    image = ImageCache(0).read(write_image(tmp_path / 'x.png', pixels))
    assert image is not None
    assert (image == pixels).all()
    grey = ImageCache(0).read(write_image(tmp_path / 'grey.png', pixels[:, :, 0].copy()))
    assert grey is not None
    assert (grey == pixels[:, :, :1]).all()


def test_the_cache_keeps_the_latest_images_within_its_limit(paths: list[Path]) -> None:
    cache = ImageCache(2 * SIZE)
    first, second, third = paths[:3]
    kept = [cache.read(path) for path in (first, second)]
    assert cache.read(first) is kept[0]
    cache.read(third)  # removes the second image, which was used longest ago
    for path in paths:
        path.unlink()
    assert cache.read(first) is kept[0]
    with pytest.warns(UserWarning, match='skipped'):
        assert cache.read(second) is None


def test_a_cache_of_size_0_keeps_nothing(paths: list[Path]) -> None:
    cache = ImageCache(0)
    one, other = cache.read(paths[3]), cache.read(paths[3])
    assert one is not other
    assert one is not None
    assert one.max() == 3


def test_an_image_with_and_without_alpha_is_cached_separately(
    tmp_path: Path, write_image: Write
) -> None:
    path = write_image(tmp_path / 'x.png', np.full((8, 9, 4), 50, np.uint8))
    cache = ImageCache(1 << 20)
    shapes = [
        image.shape for alpha in (True, False) if (image := cache.read(path, alpha)) is not None
    ]
    assert shapes == [(8, 9, 4), (8, 9, 3)]
    assert cache.unreadable == 0


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (None, 'No such file'),
        (b'', 'not a readable image (0 bytes)'),
        (b'no image', 'not a readable image (8 bytes)'),
    ],
)
def test_an_unreadable_image_is_counted_and_named(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / 'x.png'
    if content is not None:
        path.write_bytes(content)
    cache = ImageCache(1 << 20)
    for count in (1, 2):
        with pytest.warns(UserWarning, match='skipped') as warned:
            assert cache.read(path) is None
        assert str(path) in str(warned[0].message)
        assert reason in str(warned[0].message)
        assert cache.unreadable == count


@pytest.mark.parametrize('shape', [(8, 9), (8, 9, 3)])
def test_an_image_without_alpha_is_refused_as_a_cutout(
    tmp_path: Path, write_image: Write, shape: tuple[int, ...]
) -> None:
    path = write_image(tmp_path / 'x.png', np.zeros(shape, np.uint8))
    cache = ImageCache(0)
    with pytest.warns(UserWarning, match='has no alpha'):
        assert cache.read(path, alpha=True) is None
    assert cache.unreadable == 1


@pytest.mark.filterwarnings('ignore:skipped')
def test_unreadable_images_are_counted_across_processes(tmp_path: Path) -> None:
    cache = ImageCache(0)
    worker = multiprocessing.Process(target=cache.read, args=(tmp_path / 'missing.png',))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert cache.unreadable == 1


def test_data_modules_do_not_need_torch() -> None:
    modules = ', '.join(
        f'hcat_ros.training.{name}' for name in ('augment', 'images', 'sources', 'views')
    )
    code = f"import sys; sys.modules['torch'] = None; import {modules}"
    subprocess.run([sys.executable, '-c', code], check=True)
