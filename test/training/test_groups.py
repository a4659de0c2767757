# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from torch.utils.data import DataLoader

from hcat_ros.boxes import Box
from hcat_ros.evaluation.clips import read_clips
from hcat_ros.training import augment
from hcat_ros.training.groups import Chances, Group, GroupDataset, collate
from hcat_ros.training.images import ImageCache
from hcat_ros.training.sources import ClipSource, PhotoSource, Sighting
from hcat_ros.training.teachers import GRID, Committee, Lesson
from hcat_ros.training.views import Geometry, Jitter, Warp

STILL = Chances(0, 0, 0, 0, 0, 0, 0, strength=0)
FLAT = Geometry(Jitter(), Jitter(), warp=0, mirror=0)


class Flat:
    """A source of sightings in one colour (B, G, R); the box of the n-th is 20 + n wide."""

    def __init__(self, *colour: int, readable: bool = True) -> None:
        self.image = np.full((100, 100, 3), colour, np.uint8)
        self.readable = readable
        self.drawn = 0

    def draw(
        self, rng: np.random.Generator, count: int, cache: ImageCache
    ) -> list[Sighting] | None:
        self.drawn += 1
        if not self.readable:
            return None
        return [Sighting(self.image, Box(40, 40, 20 + n, 20), Warp(5)) for n in range(count)]


def assert_same(one: Group, other: Group) -> None:
    assert all(torch.equal(a, b) for a, b in zip(one[:4], other[:4], strict=True))
    assert (one.lesson is None) == (other.lesson is None)
    if one.lesson is not None:
        torch.testing.assert_close(one.lesson, other.lesson, rtol=0, atol=0, equal_nan=True)


@pytest.fixture
def clips(tmp_path: Path, sequence: Callable[..., Path]) -> ClipSource:
    for number in range(2):
        sequence(tmp_path / 'video' / str(number), 6, number)
    return ClipSource(read_clips('plain', tmp_path / 'video'))


@pytest.mark.parametrize(('views', 'sizes'), [(1, (128, 256)), (3, (64, 128))])
def test_an_item_has_the_documented_shapes_and_types(
    clips: ClipSource, views: int, sizes: tuple[int, int]
) -> None:
    data = GroupDataset([clips], [1.0], views, template_size=sizes[0], search_size=sizes[1])
    group = data[0]
    assert group.templates.shape == (views, sizes[0], sizes[0], 3)
    assert group.searches.shape == (views, sizes[1], sizes[1], 3)
    assert group.boxes.shape == (views, 4)
    assert group.shown.shape == (views,)
    types = (torch.uint8, torch.uint8, torch.float32, torch.bool)
    assert tuple(part.dtype for part in group[:4]) == types
    assert group.lesson is None
    assert len(data) > 1 << 39


@pytest.mark.usefixtures('no_garbage')
def test_an_item_depends_only_on_seed_and_index(clips: ClipSource) -> None:
    """Earlier items, the process and the cache do not matter."""
    cutouts = [np.full((20, 30, 4), 200, np.uint8)]

    def data(seed: int, cache: int = 0) -> GroupDataset:
        return GroupDataset([clips], [1.0], 3, seed, cutouts=cutouts, cache_bytes=cache)

    one, other = data(5), data(5, 1 << 24)
    forwards = [one[index] for index in range(6)]
    for index in reversed(range(6)):
        assert_same(other[index], forwards[index])
    assert not torch.equal(forwards[0].searches, forwards[1].searches)
    assert not torch.equal(forwards[0].searches, data(6)[0].searches)
    loader = DataLoader(other, 2, sampler=range(6), num_workers=1, collate_fn=collate)
    for number, batch in enumerate(loader):
        assert_same(batch, collate(forwards[2 * number : 2 * number + 2]))


def test_sources_are_drawn_by_their_shares() -> None:
    colours = {(10, 0, 0): 1.0, (0, 10, 0): 3.0, (0, 0, 10): 0.0}
    data = GroupDataset(
        [Flat(*colour) for colour in colours], list(colours.values()), 1, chances=STILL
    )
    counts = Counter(tuple(data[n].templates[0, 5, 5].tolist()) for n in range(120))
    # Items are RGB, sources give BGR.
    assert set(counts) == {(0, 0, 10), (0, 10, 0)}
    assert counts[0, 10, 0] / 120 == pytest.approx(0.75, abs=0.12)


@pytest.mark.parametrize('shares', [[], [1.0], [0.0, 0.0]])
def test_invalid_shares_are_refused(shares: list[float]) -> None:
    with pytest.raises(ValueError, match='2 sources need as many shares'):
        GroupDataset([Flat(0, 0, 0), Flat(0, 0, 0)], shares)


def test_unreadable_images_are_replaced_by_another_draw() -> None:
    broken, whole = Flat(0, 0, 0, readable=False), Flat(7, 7, 7)
    data = GroupDataset([broken, whole], [9.0, 1.0], 1, chances=STILL)
    assert all(data[n].templates.max() == 7 for n in range(10))
    assert broken.drawn > 20


def test_only_unreadable_images_are_an_error() -> None:
    broken = Flat(0, 0, 0, readable=False)
    with pytest.raises(RuntimeError, match='no object with readable images in 100 draws'):
        GroupDataset([broken], [1.0])[0]
    assert broken.drawn == 100


@pytest.mark.usefixtures('no_garbage')
@pytest.mark.filterwarnings('ignore:skipped')
def test_unreadable_images_are_counted_in_all_processes(tmp_path: Path, clips: ClipSource) -> None:
    data = GroupDataset([PhotoSource([tmp_path / 'missing.png']), clips], [1.0, 1.0], 1)
    list(DataLoader(data, 1, sampler=range(12), num_workers=2, collate_fn=collate))
    assert data.unreadable > 0


def test_template_and_search_region_of_one_view_are_of_two_sightings() -> None:
    data = GroupDataset([Flat(0, 0, 0)], [1.0], 1, chances=STILL, geometry=FLAT)
    # The search region is around the second sighting, 21 wide.
    width, height = data[0].boxes[0, 2:].tolist()
    assert width / height == pytest.approx(21 / 20)
    data.views = 2
    widths, heights = data[0].boxes[:, 2], data[0].boxes[:, 3]
    assert (widths / heights).tolist() == pytest.approx([1, 21 / 20])


def test_geometry_and_chances_of_0_change_nothing(
    picture: Callable[..., np.ndarray],
) -> None:
    source = Flat(0, 0, 0)
    source.image = picture(100, 100, 2)
    data = GroupDataset([source], [1.0], 2, chances=STILL, geometry=FLAT)
    first = data[0]
    assert_same(first, data[1])
    assert first.boxes[:, :2].flatten().tolist() == pytest.approx([0.5] * 4)
    assert first.shown.all()


def test_chances_of_1_apply_every_augmentation(clips: ClipSource, monkeypatch: Any) -> None:
    called: Counter[str] = Counter()
    names = ('add_distractor', 'occlude', 'brighten', 'low_resolution', 'motion_blur', 'noise')
    for name in names:
        original = getattr(augment, name)

        def counted(*args: Any, name: str = name, original: Any = original) -> Any:
            called[name] += 1
            return original(*args)

        monkeypatch.setattr(augment, name, counted)
    chances = Chances(1, 1, 1, 1, 1, 1, 0, brightness=0.5)
    data = GroupDataset([clips], [1.0], 2, chances=chances)
    group = data[0]
    # Only search regions are blurred, occluded and given distractors; templates are
    # downsampled half as often.
    assert {name: called[name] for name in names if name != 'low_resolution'} == {
        'add_distractor': 2,
        'occlude': 2,
        'brighten': 4,
        'motion_blur': 2,
        'noise': 4,
    }
    assert called['low_resolution'] >= 2
    grey = GroupDataset([clips], [1.0], 2, chances=Chances(1, 0, 0, 0, 0, 0))[0]
    assert (grey.searches[..., 0] == grey.searches[..., 2]).all()
    assert group.searches.shape == grey.searches.shape


@pytest.mark.parametrize('fields', [{'grey': 1.5}, {'noise': -0.1}, {'strength': -1}])
def test_chances_out_of_their_range_are_named(fields: dict[str, float]) -> None:
    name, value = next(iter(fields.items()))
    with pytest.raises(ValueError, match=f'{name} {value}: expected 0 to 1'):
        Chances(**fields)
    assert Chances(strength=2.5).strength == 2.5


def test_collating_stacks_groups_along_a_new_axis(clips: ClipSource) -> None:
    data = GroupDataset([clips], [1.0], 2)
    groups = [data[0], data[1], data[2]]
    batch = collate(groups)
    assert isinstance(batch, Group)
    assert batch.lesson is None
    assert batch.searches.shape == (3, 2, 256, 256, 3)
    for number, group in enumerate(groups):
        assert_same(Group(*(part[number] for part in batch[:4])), group)


class Pixels(Committee):
    """A committee whose lesson encodes the first pixels of the two views."""

    def __init__(self) -> None:
        pass

    def teach(self, templates: np.ndarray, searches: np.ndarray) -> Lesson:
        z, x = (
            torch.from_numpy(crops[:, 0, 0, 0].astype(np.float32))
            for crops in (templates, searches)
        )
        scores = (1000 * z[:, None] + x)[:, :, None].expand(-1, -1, GRID**2)
        return Lesson(scores, scores[:, :, :4])


def test_a_group_includes_the_teachers_lesson(clips: ClipSource) -> None:
    alone = GroupDataset([clips], [1.0], 2, seed=4)
    taught = GroupDataset([clips], [1.0], 2, seed=4, committee=Pixels())
    group = taught[3]
    assert group.lesson is not None
    for i in range(2):
        for j in range(2):
            level = 1000 * group.templates[i, 0, 0, 0].int() + group.searches[j, 0, 0, 0].int()
            assert (group.lesson.scores[i, j] == level).all()
    # Teachers do not change the images.
    assert_same(alone[3], group._replace(lesson=None))


def test_collating_fills_missing_lessons_with_nan(clips: ClipSource) -> None:
    data = GroupDataset([clips], [1.0], 2, committee=Pixels())
    groups = [data[0]._replace(lesson=None), data[1], data[2]]
    batch = collate(groups)
    assert batch.lesson is not None
    assert all(torch.isnan(part[0]).all() for part in batch.lesson)
    for number in (1, 2):
        assert_same(
            Group(
                *(part[number] for part in batch[:4]),
                Lesson(*(part[number] for part in batch.lesson)),
            ),
            groups[number],
        )
