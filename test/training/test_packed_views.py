# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from runs import differ, scheduled

from hcat_ros.training import kept_groups
from hcat_ros.training.build import build_data, build_network
from hcat_ros.training.config import TrainConfig
from hcat_ros.training.groups import GroupDataset
from hcat_ros.training.kept_groups import Origin, ShuffledEpochs, missing_parts, views_origin
from hcat_ros.training.loop import Trainer
from hcat_ros.training.packed_views import PackedGroups, write_views
from hcat_ros.training.teachers import GRID, Committee, Lesson

GROUPS = 4


class Drawn(Committee):
    """A committee with a different random lesson for each group."""

    def __init__(self) -> None:
        pass

    def teach(self, templates: np.ndarray, searches: np.ndarray) -> Lesson:
        rng = np.random.default_rng(int(templates.sum()))
        views = len(templates)
        scores, boxes = rng.random((views, views, GRID**2)), rng.random((views, views, 4))
        scores[0, 0] = np.nan
        return Lesson(torch.from_numpy(scores).float(), torch.from_numpy(boxes).float())


@pytest.fixture
def data(config: TrainConfig) -> GroupDataset:
    return dataclasses.replace(build_data(config), committee=Drawn())


@pytest.fixture
def origin(config: TrainConfig) -> Origin:
    return {**views_origin(config, GROUPS), 'teachers': ['drawn']}


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_groups, 'PART_GROUPS', 3)


def test_stored_views_differ_only_by_jpeg_compression(
    data: GroupDataset, origin: Origin, tmp_path: Path
) -> None:
    done: list[int] = []
    write_views(tmp_path, origin, data, progress=done.append)
    assert done == [1] * GROUPS
    kept = PackedGroups(tmp_path, origin)
    assert kept.has_crops
    for number in range(GROUPS):
        found, drawn = kept[number], data[number]
        for name, side in (('templates', 64), ('searches', 128)):
            one, other = getattr(found, name), getattr(drawn, name)
            assert one.dtype == torch.uint8
            assert one.shape == (2, side, side, 3)
            # Images are coloured blocks; with red and blue swapped they differ by tens of levels.
            assert (one.float() - other.float()).abs().mean() < 3
            assert (one.float() - other.flip(3).float()).abs().mean() > 10
            one.fill_(0)  # its own memory
        assert torch.equal(found.boxes, drawn.boxes)
        assert torch.equal(found.shown, drawn.shown)
        assert found.lesson is not None
        torch.testing.assert_close(found.lesson, drawn.lesson, rtol=1e-3, atol=1e-4, equal_nan=True)


def test_without_teachers_there_is_no_lesson(
    data: GroupDataset, config: TrainConfig, tmp_path: Path
) -> None:
    origin = views_origin(config, 1)
    write_views(tmp_path, origin, dataclasses.replace(data, committee=None))
    assert PackedGroups(tmp_path, origin)[0].lesson is None


def test_work_can_be_shared_and_continued_after_an_interruption(
    data: GroupDataset, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_views(tmp_path / 'whole', origin, data)
    folder = tmp_path / 'parts'
    write_views(folder, origin, data, [1])
    assert missing_parts(folder, origin) == [0]
    encode, left = cv2.imencode, 5

    def stop(*args: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(cv2, 'imencode', stop)
    with pytest.raises(KeyboardInterrupt):
        write_views(folder, origin, data)
    assert missing_parts(folder, origin) == [0]
    monkeypatch.setattr(cv2, 'imencode', encode)
    write_views(folder, origin, data)
    names = sorted(path.name for path in folder.iterdir())
    parts = [f'part-{n:04d}.{kind}' for n in range(2) for kind in ('crops', 'npy')]
    assert names == ['origin.json', *parts]
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()


@pytest.mark.parametrize('damage', ['cut', 'overwritten', 'empty', 'missing'])
def test_damaged_crops_are_named_in_the_error(
    data: GroupDataset, origin: Origin, tmp_path: Path, damage: str
) -> None:
    write_views(tmp_path, origin, data)
    path = tmp_path / 'part-0000.crops'
    whole = path.read_bytes()
    contents = {'cut': whole[:100], 'overwritten': bytes(len(whole)), 'empty': b''}
    if damage == 'missing':
        path.unlink()
    else:
        path.write_bytes(contents[damage])
    expected = r'part-0000\.crops is damaged; delete part-0000\.npy'
    with pytest.raises(ValueError, match=expected):
        PackedGroups(tmp_path, origin)[2]
    (tmp_path / 'part-0000.npy').unlink()
    write_views(tmp_path, origin, data)
    assert path.read_bytes() == whole


def test_a_backbone_can_be_trained_on_stored_views(
    config: TrainConfig, data: GroupDataset, tmp_path: Path
) -> None:
    origin = views_origin(config, GROUPS)
    write_views(tmp_path / 'views', origin, dataclasses.replace(data, committee=None))
    config = scheduled(config, steps=2, trained_blocks=1)
    model, start = build_network(config), build_network(config)
    epochs = ShuffledEpochs([PackedGroups(tmp_path / 'views', origin)])
    Trainer(model, epochs, config.schedule, tmp_path / 'run').run()
    assert differ(model.backbone, start.backbone)
