# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcat_ros.boxes import Box
from hcat_ros.evaluation.clips import Clip, DataSetError
from hcat_ros.training.images import ImageCache
from hcat_ros.training.sources import (
    ClipSource,
    PasteSource,
    PhotoSource,
    Sighting,
    Source,
    image_paths,
)
from hcat_ros.training.views import PHOTO_WARP, VIDEO_WARP

Write = Callable[..., Path]


class Numbered(ImageCache):
    """An image cache that returns, for `<n>.png`, an image of which every pixel is n."""

    def __init__(self) -> None:
        super().__init__(0)

    def read(self, path: Path, alpha: bool = False) -> np.ndarray:
        return np.full((2, 2, 3), int(path.stem), np.int32)


def clip(count: int, absent: tuple[int, ...] = ()) -> Clip:
    """A clip whose box in frame n has x = n."""
    boxes = np.array([[number, 5, 20, 10] for number in range(count)], np.float32)
    boxes[list(absent)] = np.nan
    return Clip('made', tuple(Path(f'{number}.png') for number in range(count)), boxes)


@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 8), st.data())
def test_frames_of_a_clip_are_near_each_other_and_show_the_object(
    frames: int, max_gap: int, count: int, data: st.DataObject
) -> None:
    absent = data.draw(st.sets(st.integers(0, frames - 1), max_size=frames - 1))
    source = ClipSource([clip(frames, tuple(absent))], max_gap)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    sightings = source.draw(rng, count, Numbered())
    assert sightings is not None
    assert len(sightings) == count
    numbers = [int(sighting.image[0, 0, 0]) for sighting in sightings]
    assert max(numbers) - min(numbers) <= max_gap
    assert not absent & set(numbers)
    assert [sighting.box for sighting in sightings] == [Box(n, 5, 20, 10) for n in numbers]


def test_no_frame_is_drawn_twice_if_there_are_enough() -> None:
    source = ClipSource([clip(200)], 100)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        sightings = source.draw(rng, 2, Numbered())
        assert sightings is not None
        if {s.warp for s in sightings} == {VIDEO_WARP}:
            assert sightings[0].image[0, 0, 0] != sightings[1].image[0, 0, 0]


def test_every_clip_and_frame_is_drawn() -> None:
    source = ClipSource([clip(5), clip(8)])
    rng = np.random.default_rng(0)
    seen = {
        int(s.image[0, 0, 0]) for _ in range(200) for s in source.draw(rng, 2, Numbered()) or []
    }
    assert seen == set(range(8))


def test_a_clip_with_a_single_usable_image_is_warped_like_a_photograph() -> None:
    rng = np.random.default_rng(0)
    for made, warp in ((clip(1), PHOTO_WARP), (clip(3, (0, 2)), PHOTO_WARP), (clip(2), VIDEO_WARP)):
        warps = {
            s.warp for _ in range(30) for s in ClipSource([made]).draw(rng, 3, Numbered()) or []
        }
        assert warp in warps


def assert_inside(image: np.ndarray, box: Box) -> None:
    height, width = image.shape[:2]
    assert box.x >= 0
    assert box.y >= 0
    assert box.x + box.w <= width
    assert box.y + box.h <= height
    assert min(box.w, box.h) > 0


@pytest.mark.parametrize('shape', [(60, 200, 3), (200, 60, 3), (9, 7, 3)])
def test_regions_lie_inside_the_photograph(
    tmp_path: Path, write_image: Write, shape: tuple[int, ...]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    source = PhotoSource([write_image(tmp_path / 'x.png', pixels)])
    boxes = set()
    for seed in range(100):
        sightings = source.draw(np.random.default_rng(seed), 3, ImageCache(1 << 20))
        assert sightings is not None
        assert len(sightings) == 3
        for image, box, warp in sightings:
            assert_inside(image, box)
            assert (image == pixels).all()
            assert warp == PHOTO_WARP
            boxes.add(box)
    assert len(boxes) == 100


def test_a_salient_region_is_preferred(tmp_path: Path, write_image: Write) -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[35:65, 35:65] = 255
    source = PhotoSource([write_image(tmp_path / 'x.png', pixels)])
    hits = 0
    for seed in range(60):
        box = (source.draw(np.random.default_rng(seed), 1, ImageCache(0)) or [])[0].box
        hits += 35 < box.cx < 65 and 35 < box.cy < 65
    assert hits > 30  # a random region is there in one of five draws


@pytest.fixture
def paste_source(tmp_path: Path, write_image: Write) -> PasteSource:
    """Opaque white objects on black backgrounds."""
    cutouts = [
        write_image(tmp_path / f'cutouts/{n}.png', np.full((*shape, 4), 255, np.uint8))
        for n, shape in enumerate([(40, 40), (20, 90), (90, 20), (3, 300)])
    ]
    grounds = [write_image(tmp_path / f'photos/{n}.png', n) for n in range(3)]
    return PasteSource(cutouts, grounds)


def test_the_box_of_a_pasted_object_fits_its_pixels(paste_source: PasteSource) -> None:
    for seed in range(60):
        sightings = paste_source.draw(np.random.default_rng(seed), 2, ImageCache(1 << 20))
        assert sightings is not None
        for image, box, _ in sightings:
            assert image.shape == (448, 448, 3)
            ys, xs = np.nonzero(image[:, :, 0] > 127)
            # Within a pixel, because objects are pasted at whole pixels.
            assert xs.min() == pytest.approx(box.x, abs=1)
            assert ys.min() == pytest.approx(box.y, abs=1)
            assert xs.max() + 1 == pytest.approx(box.x + box.w, abs=1.5)
            assert ys.max() + 1 == pytest.approx(box.y + box.h, abs=1.5)
            assert len(xs) == (np.ptp(xs) + 1) * (np.ptp(ys) + 1)
            assert_inside(image, box)


def test_about_half_of_the_sightings_share_their_background(paste_source: PasteSource) -> None:
    changes = total = 0
    for seed in range(60):
        sightings = paste_source.draw(np.random.default_rng(seed), 6, ImageCache(1 << 20)) or []
        grounds = [int(sighting.image[0, 0, 0]) for sighting in sightings]
        changes += sum(a != b for a, b in pairwise(grounds))
        total += 5
    assert 0.2 < changes / total < 0.5  # a half, a third of which draws the same photograph again


def test_a_draw_depends_only_on_the_state_of_the_generator(
    tmp_path: Path, write_image: Write, sequence: Write, paste_source: PasteSource
) -> None:
    from hcat_ros.evaluation.clips import read_clips

    pixels = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    sequence(tmp_path / 'video' / 'a')
    sources: list[Source] = [
        ClipSource(read_clips('plain', tmp_path / 'video')),
        PhotoSource([write_image(tmp_path / 'x.png', pixels)]),
        paste_source,
    ]
    for source in sources:
        warm = ImageCache(1 << 24)
        for seed in range(3):
            one = source.draw(np.random.default_rng(seed), 4, ImageCache(0))
            other = source.draw(np.random.default_rng(seed), 4, warm)
            assert one is not None
            assert other is not None
            for a, b in zip(one, other, strict=True):
                assert (a.image == b.image).all()
                assert a[1:] == b[1:]


@pytest.mark.filterwarnings('ignore:skipped')
def test_unreadable_images_give_no_sightings_and_are_counted(
    tmp_path: Path, paste_source: PasteSource
) -> None:
    missing = [tmp_path / 'missing.png']
    boxes = np.array([[1, 2, 30, 40]], np.float32)
    for source in (
        ClipSource([Clip('x', tuple(missing), boxes)]),
        PhotoSource(missing),
        PasteSource(missing, paste_source.backgrounds),
        PasteSource(paste_source.cutouts, missing),
    ):
        cache = ImageCache(1 << 20)
        assert source.draw(np.random.default_rng(0), 2, cache) is None
        assert cache.unreadable == 1


def test_images_in_the_cache_are_not_modified(tmp_path: Path, paste_source: PasteSource) -> None:
    cache = ImageCache(1 << 24)
    paths = [(path, False) for path in paste_source.backgrounds]
    paths += [(path, True) for path in paste_source.cutouts]
    before = [np.copy(cache.read(*key)) for key in paths]  # type: ignore[arg-type]
    for seed in range(20):
        for sighting in paste_source.draw(np.random.default_rng(seed), 4, cache) or []:
            assert isinstance(sighting, Sighting)
    assert all((cache.read(*key) == old).all() for key, old in zip(paths, before, strict=True))


def test_images_are_found_below_a_folder(tmp_path: Path, write_image: Write) -> None:
    for name in ('b/2.png', 'a.JPG', 'b/c/1.webp'):
        write_image(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('no image')
    assert [path.name for path in image_paths(tmp_path)] == ['a.JPG', '2.png', '1.webp']
    for empty in (tmp_path / 'missing', tmp_path / 'empty'):
        with pytest.raises(DataSetError, match=f'no images in {empty}'):
            image_paths(empty)
