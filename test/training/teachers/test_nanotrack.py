# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnx', reason='needs ONNX')
onnxruntime = pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from nanotracks import features_of, nanotrack, probability
from torch.utils.data import DataLoader, Dataset

from hcat_ros.training.teachers import NanoTrack, Sight, TeacherConfig, load_teacher

RED, RGB, BROWN = [[1, 0, 0]], np.eye(3), [[0.6, 0.3, 0.1], [-0.2, 0.5, 1.0]]


def crops(side: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def look(teacher: NanoTrack, template: np.ndarray, search: np.ndarray) -> Sight:
    return teacher.look(teacher.features(template)[0], teacher.features(search)[0])


def corners(points: np.ndarray) -> np.ndarray:
    """Values at the corners of each cell (4, 16, 16, ...), extended beyond the last points.

    points: (g, g, ...) at 16 px times 0..15, or 1..15.
    """
    before = 16 - len(points)
    rest = [(0, 0)] * (points.ndim - 2)
    wide = np.pad(points, [(before, 1), (before, 1), *rest], 'edge')  # values at 16 px times 0..16
    return np.stack([wide[:-1, :-1], wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]])


@pytest.mark.parametrize(('side', 'cells'), [(128, 8), (256, 16)])
@pytest.mark.parametrize('colours', [RED, RGB, BROWN])
def test_features_omit_the_last_row_and_column_of_the_rgb_crops(
    tmp_path: Path, side: int, cells: int, colours: np.ndarray
) -> None:
    teacher = load_teacher(nanotrack(tmp_path, colours))
    found = teacher.features(crops(side, 3))
    assert found.shape == (3, len(colours), cells, cells)
    assert found.dtype == np.float32
    assert found == pytest.approx(features_of(crops(side, 3), colours), abs=1e-5)


@pytest.mark.parametrize('points', [16, 15])
@pytest.mark.parametrize(('row', 'column'), [(2, 2), (3, 11), (15, 15), (8, 1)])
def test_a_point_contributes_to_the_four_cells_around_it(
    tmp_path: Path, points: int, row: int, column: int
) -> None:
    teacher = NanoTrack(nanotrack(tmp_path, RGB, points))
    search = np.zeros((1, 256, 256, 3), np.uint8)
    search[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 255
    found = look(teacher, np.full((1, 128, 128, 3), 204, np.uint8), search).scores
    dark, bright = probability(0.0), probability(3 * 0.8)
    # Its point is at 16 row, 16 column: the corner of four cells, except at the border.
    expected = np.full((16, 16), dark)
    expected[row - 1 : row + 1, column - 1 : column + 1] = (3 * dark + bright) / 4
    if row == 15:
        expected[15, 14], expected[14, 15] = [(dark + bright) / 2] * 2
        expected[15, 15] = bright
    elif column == 1 and points == 15:  # the first points also replace the missing ones
        expected[row - 1 : row + 1, 0] = (dark + bright) / 2
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('points', [16, 15])
def test_a_cell_has_the_mean_score_of_its_corners_and_the_box_of_the_best(
    tmp_path: Path, points: int
) -> None:
    sides = np.random.default_rng(3).uniform(5, 90, (4, points, points))
    teacher = NanoTrack(nanotrack(tmp_path, BROWN, points, sides))
    template, search = crops(128, 1) // 2, crops(256, 1, 1)
    found = look(teacher, template, search)
    mean = features_of(template, BROWN)[0].mean((1, 2))
    likeness = np.einsum('k,kyx->yx', mean, features_of(search, BROWN)[0])
    scores = corners(probability(likeness)[16 - points :, 16 - points :])
    assert found.scores == pytest.approx(scores.mean(0), abs=1e-5)

    at = np.arange(16 - points, 16) * 16
    left, top, right, bottom = sides
    x0, x1, y0, y1 = at - left, at + right, at[:, None] - top, at[:, None] + bottom
    boxes = corners(np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 2) / 256)
    rows, columns = np.indices((16, 16))
    expected = boxes[scores.argmax(0), rows, columns]
    assert found.boxes.shape == (16, 16, 4)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.boxes == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('version', ['v2', 'v3'])
def test_the_released_networks_find_the_template_in_the_search_region(
    shared: Path, seen: tuple[np.ndarray, np.ndarray, np.ndarray], version: str, find: Any
) -> None:
    folder = shared / 'teachers' / f'nanotrack_{version}'
    files = [sorted(folder.glob(f'*_{part}*.onnx')) for part in ('backbone', 'head')]
    if not all(files):
        pytest.skip(f'needs the files of NanoTrack in {folder}')
    score, overlap = find(NanoTrack(TeacherConfig(*(str(found[0]) for found in files))), *seen)
    assert score > 0.5
    assert overlap > 0.5


@pytest.mark.parametrize('part', ['backbone', 'head'])
@pytest.mark.parametrize('content', [None, b'', b'no graph', 0.5])
def test_missing_or_damaged_files_are_named_in_the_error(
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
        NanoTrack(config).features(crops(128, 1))


def test_files_that_do_not_belong_together_are_named_in_the_error(tmp_path: Path) -> None:
    config, other = nanotrack(tmp_path / 'a', RGB), nanotrack(tmp_path / 'b', BROWN)
    for backbone, head, wrong in (
        (config.head, config.backbone, f'{config.head} is not a NanoTrack backbone'),
        (config.backbone, config.backbone, f'{config.backbone} is not the NanoTrack head of'),
        (config.backbone, other.head, f'{other.head} is not the NanoTrack head of'),
    ):
        with pytest.raises(ValueError, match=f'teacher: {wrong}'):
            NanoTrack(TeacherConfig(backbone, head)).features(crops(128, 1))


def test_a_head_without_four_box_sides_is_named_in_the_error(tmp_path: Path) -> None:
    config = nanotrack(tmp_path, RGB, sides=np.zeros((2, 16, 16)))
    with pytest.raises(ValueError, match='is not the NanoTrack head of'):
        NanoTrack(config).features(crops(128, 1))


class Asked(Dataset[int]):
    """A data set whose items are the number of sessions that the process has created."""

    def __init__(self, teacher: NanoTrack, made: list[int]) -> None:
        self.teacher, self.made = teacher, made

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        self.teacher.features(crops(128, 1))
        return self.made.count(os.getpid())


@pytest.mark.usefixtures('no_garbage')
def test_each_process_creates_its_own_sessions_once(
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
