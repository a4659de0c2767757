# SPDX-License-Identifier: Apache-2.0
"""Teachers and what they say of crops; learning from it stands in test_distillation.py."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnx', reason='needs ONNX')
onnxruntime = pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from nanotracks import features_of, nanotrack, probability
from torch.utils.data import DataLoader, Dataset

from hcat_ros.evaluation.clips import read_clips
from hcat_ros.training.groups import GroupDataset, collate
from hcat_ros.training.sources import ClipSource
from hcat_ros.training.teachers import GRID, Lesson, NanoTrack, TeacherConfig, lesson

RED, RGB, BROWN = [[1, 0, 0]], np.eye(3), [[0.6, 0.3, 0.1], [-0.2, 0.5, 1.0]]
DARK = probability(0.0)


def crops(side: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def one_patch(row: int, column: int) -> np.ndarray:
    """A black search region but for one white cell."""
    search = np.zeros((1, 256, 256, 3), np.uint8)
    search[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 255
    return search


@pytest.mark.parametrize(('side', 'cells'), [(128, 8), (256, 16)])
@pytest.mark.parametrize('colours', [RED, RGB, BROWN])
def test_features_are_those_of_the_rgb_crops_without_their_last_row_and_column(
    tmp_path: Path, side: int, cells: int, colours: np.ndarray
) -> None:
    teacher = NanoTrack(nanotrack(tmp_path, colours))
    found = teacher.features(crops(side, 3))
    assert found.shape == (3, len(colours), cells, cells)
    assert found.dtype == np.float32
    assert found == pytest.approx(features_of(crops(side, 3), colours), abs=1e-5)
    assert teacher.channels == len(colours)


@pytest.mark.parametrize('cells', [16, 15])
@pytest.mark.parametrize(('row', 'column'), [(1, 1), (3, 11), (15, 15), (8, 1)])
def test_the_peak_is_in_the_cell_of_what_is_looked_for(
    tmp_path: Path, cells: int, row: int, column: int
) -> None:
    teacher = NanoTrack(nanotrack(tmp_path, RGB, cells))
    template = np.full((1, 128, 128, 3), 204, np.uint8)
    found = lesson([teacher], template, one_patch(row, column)).scores.numpy()
    expected = np.full((GRID, GRID), DARK)
    expected[row, column] = probability(3 * 0.8)
    # The map of 15 cells knows nothing of the first row and column.
    expected[: 16 - cells] = expected[:, : 16 - cells] = np.nan
    assert np.nanargmax(found) == 16 * row + column
    assert found.reshape(GRID, GRID) == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_each_template_is_looked_for_in_each_other_view(tmp_path: Path) -> None:
    teacher = NanoTrack(nanotrack(tmp_path, BROWN))
    templates, searches = crops(128, 3), crops(256, 3, 1)
    templates //= np.array([1, 2, 4], np.uint8)[:, None, None, None]
    found = lesson([teacher], templates, searches)
    assert found.scores.shape == (3, 3, GRID * GRID)
    assert found.scores.dtype == found.features.dtype == torch.float32
    z, x = features_of(templates, BROWN).mean((2, 3)), features_of(searches, BROWN)
    expected = probability(np.einsum('ik,jkyx->ijyx', z, x)).reshape(3, 3, -1)
    expected[range(3), range(3)] = np.nan
    assert found.scores.numpy() == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert found.features.numpy() == pytest.approx(x, abs=1e-5)


def test_a_group_of_one_view_looks_for_its_own_template(tmp_path: Path) -> None:
    teacher = NanoTrack(nanotrack(tmp_path, RGB))
    found = lesson([teacher], crops(128, 1), crops(256, 1))
    assert found.scores.shape == (1, 1, GRID * GRID)
    assert torch.isfinite(found.scores).all()


def test_the_mean_is_of_those_who_know_the_cell(tmp_path: Path) -> None:
    """The first has 16 cells a side and sees red, the second 15 and all colours."""
    teachers = [
        NanoTrack(nanotrack(tmp_path / '16', RED)),
        NanoTrack(nanotrack(tmp_path / '15', RGB, 15)),
    ]
    views = crops(128, 2), crops(256, 2, 1)
    first, second = (lesson([teacher], *views) for teacher in teachers)
    both = lesson(teachers, *views)
    scores = both.scores.view(2, 2, GRID, GRID)
    one, other = (part.scores.view(2, 2, GRID, GRID) for part in (first, second))
    asked = ~torch.eye(2, dtype=torch.bool)
    assert torch.equal(scores[asked][:, 0], one[asked][:, 0])
    assert torch.equal(scores[asked][:, :, 0], one[asked][:, :, 0])
    inner = (one[asked][:, 1:, 1:] + other[asked][:, 1:, 1:]) / 2
    torch.testing.assert_close(scores[asked][:, 1:, 1:], inner)
    assert (inner - one[asked][:, 1:, 1:]).abs().min() > 0.001
    assert torch.isnan(scores[~asked]).all()
    assert torch.equal(both.features, torch.cat([first.features, second.features], 1))
    assert both.features.shape == (2, 4, GRID, GRID)


@pytest.mark.parametrize('part', ['backbone', 'head'])
@pytest.mark.parametrize('content', [None, b'', b'no graph', 0.5])
def test_files_that_are_missing_or_damaged_are_named(
    tmp_path: Path, part: str, content: bytes | float | None
) -> None:
    config = nanotrack(tmp_path, RGB)
    path = Path(getattr(config, part))
    whole = path.read_bytes()
    path.unlink()
    if content is None:
        with pytest.raises(ValueError, match=f'no file {path}'):
            NanoTrack(config)
        return
    path.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f'cannot load {path}'):
        _ = NanoTrack(config).channels


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    config, other = nanotrack(tmp_path / 'a', RGB), nanotrack(tmp_path / 'b', BROWN)
    for backbone, head, wrong in (
        (config.head, config.backbone, f'{config.head} is no NanoTrack backbone'),
        (config.backbone, config.backbone, f'{config.backbone} is not the NanoTrack head of'),
        (config.backbone, other.head, f'{other.head} is not the NanoTrack head of'),
    ):
        with pytest.raises(ValueError, match=f'teacher: {wrong}'):
            _ = NanoTrack(TeacherConfig(backbone, head)).channels


@pytest.fixture
def data(tmp_path: Path, sequence: Callable[..., Path]) -> GroupDataset:
    """Groups of two views with two teachers."""
    sequence(tmp_path / 'video' / 'one', 6)
    source = ClipSource(read_clips('plain', tmp_path / 'video'))
    teachers = [NanoTrack(nanotrack(tmp_path / str(n), RGB, 16 - n)) for n in range(2)]
    return GroupDataset([source], [1.0], 2, teachers=teachers)


def assert_same(one: Lesson | None, other: Lesson | None) -> None:
    assert one is not None
    assert other is not None
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_a_group_brings_its_lesson(data: GroupDataset) -> None:
    groups = [data[0], data[1], data[2]]
    for group in groups:
        views = group.templates.numpy(), group.searches.numpy()
        assert_same(group.lesson, lesson(data.teachers, *views))
    batch = collate(groups)
    assert batch.lesson is not None
    assert batch.lesson.scores.shape == (3, 2, 2, GRID * GRID)
    assert batch.lesson.features.shape == (3, 2, 6, GRID, GRID)
    for number, group in enumerate(groups):
        assert_same(Lesson(*(part[number] for part in batch.lesson)), group.lesson)


def test_what_is_seen_does_not_depend_on_there_being_teachers(data: GroupDataset) -> None:
    taught, alone = data[3], dataclasses.replace(data, teachers=[])[3]
    assert alone.lesson is None
    assert all(torch.equal(a, b) for a, b in zip(taught[:4], alone[:4], strict=True))


def test_teachers_that_were_used_before_work_in_other_processes(data: GroupDataset) -> None:
    here = [collate([data[2 * n], data[2 * n + 1]]).lesson for n in range(2)]
    loader = DataLoader(
        data,
        2,
        sampler=range(4),
        num_workers=2,
        collate_fn=collate,
        timeout=60,
        multiprocessing_context='fork',
    )
    for batch, expected in zip(loader, here, strict=True):
        assert_same(batch.lesson, expected)
    assert_same(collate([data[0], data[1]]).lesson, here[0])  # and still here


class Asked(Dataset[int]):
    """How many sessions its process has made, after it asked the teacher."""

    def __init__(self, teacher: NanoTrack, made: list[int]) -> None:
        self.teacher, self.made = teacher, made

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        self.teacher.features(crops(128, 1))
        return self.made.count(os.getpid())


def test_each_process_makes_its_own_sessions_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    original = onnxruntime.InferenceSession

    def make(*args: Any) -> Any:
        made.append(os.getpid())
        return original(*args)

    monkeypatch.setattr(onnxruntime, 'InferenceSession', make)
    asked = Asked(NanoTrack(nanotrack(tmp_path, RGB)), made)
    assert made == []
    assert [asked[0], asked[1]] == [2, 2]
    loader = DataLoader(asked, 1, num_workers=2, timeout=60, multiprocessing_context='fork')
    assert [int(count) for count in loader] == [2, 2, 2, 2]
    assert asked[2] == 2
