# SPDX-License-Identifier: Apache-2.0
"""Training logs and pictures of training groups."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from hcat_ros.training.groups import Group
from hcat_ros.training.log import LOG_FILE, VALIDATION_FILE, TrainingLog, read_rows
from hcat_ros.training.losses import Losses, positive_cells
from hcat_ros.training.pictures import draw_group


def losses(value: float) -> Losses:
    return Losses(
        *(torch.tensor(float(value + n), requires_grad=True) for n in range(len(Losses._fields)))
    )


@pytest.fixture(autouse=True)
def no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)


def test_means_are_written_at_the_log_interval(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path / 'new' / 'run', 2)
    for step in range(1, 6):
        log.add(step, losses(step), 10.0 * step)
    log.close()
    rows = [json.loads(line) for line in (tmp_path / 'new/run' / LOG_FILE).read_text().splitlines()]
    assert [row['step'] for row in rows] == [2, 4]
    names = ['step', 'total', 'classification', 'l1', 'giou', 'iou', 'taught', 'pairs_per_second']
    assert list(rows[1]) == names
    assert list(rows[1].values()) == [4, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 35]


def test_rows_after_the_saved_step_are_removed(tmp_path: Path) -> None:
    first = TrainingLog(tmp_path, 1)
    for step in (1, 2, 3):
        first.add(step, losses(step), 1)
        first.record_validation(step, {'mean': step / 10})
    assert first.best() == 0.3
    with (tmp_path / LOG_FILE).open('a') as file:
        file.write('{"step": 4, "tot')  # killed while writing
    second = TrainingLog(tmp_path, 1, step=2)
    assert [row['step'] for row in read_rows(tmp_path / LOG_FILE)] == [1, 2]
    assert [row['step'] for row in read_rows(tmp_path / VALIDATION_FILE)] == [1, 2]
    assert second.best() == 0.2
    second.add(3, losses(9), 1)
    assert [row['total'] for row in read_rows(tmp_path / LOG_FILE)] == [1, 2, 9]


def test_best_is_minus_1_before_the_first_validation(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, 1)
    assert log.best() == -1
    log.record_validation(7, {'mean': 0.25, 'car': 0.123456})
    assert read_rows(tmp_path / VALIDATION_FILE) == [{'step': 7, 'mean': 0.25, 'car': 0.1235}]


def test_without_tensorboard_no_picture_is_drawn(tmp_path: Path) -> None:
    def make() -> Any:
        raise AssertionError

    TrainingLog(tmp_path, 1).picture('pairs', make)


def test_tensorboard_gets_scalars_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    class SummaryWriter:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            calls.append((args, kwargs))

        def add_scalar(self, *args: Any) -> None:
            calls.append(args)

        def add_image(self, name: str, image: np.ndarray, dataformats: str) -> None:
            calls.append((name, image.tolist(), dataformats))

        def close(self) -> None:
            calls.append('closed')

    module = ModuleType('tensorboard')
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', module)
    log = TrainingLog(tmp_path, 1, step=4)
    log.picture('pairs', lambda: np.array([[[1, 2, 3]]], np.uint8))
    log.add(5, losses(1), 10)
    log.record_validation(5, {'mean': 0.5})
    log.close()
    # Events of the steps that are repeated have to be removed.
    assert calls[0] == ((str(tmp_path / 'tensorboard'),), {'purge_step': 5})
    assert calls[1] == ('pairs', [[[3, 2, 1]]], 'HWC')
    assert ('log/total', 1, 5) in calls
    assert ('log/pairs_per_second', 10, 5) in calls
    assert calls[-2:] == [('validation/mean', 0.5, 5), 'closed']


@pytest.mark.parametrize('grid', [16, 32])
def test_a_picture_shows_the_box_and_the_positive_cells(grid: int) -> None:
    box = torch.tensor([[0.5, 0.25, 0.25, 0.125], [0.5, 0.5, 0.2, 0.2]])
    group = Group(
        torch.full((2, 128, 128, 3), 50, dtype=torch.uint8),
        torch.full((2, 256, 256, 3), 90, dtype=torch.uint8),
        box,
        torch.tensor([True, False]),
    )
    group.searches[..., 0] = 70  # RGB
    picture = draw_group(group, grid)
    assert picture.shape == (256, 2 * (128 + 256), 3)
    assert picture.dtype == np.uint8
    assert (picture[:128, :128] == 50).all()
    assert (picture[128:, :128] == 0).all()
    first, second = picture[:, 128:384], picture[:, 512:]
    assert (second == (90, 90, 70)).all()  # not shown, so nothing is drawn; BGR
    green = (first == (0, 255, 0)).all(axis=2)
    ys, xs = np.nonzero(green)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (96, 160, 48, 80)
    cells = positive_cells(box[:1], grid)[0].reshape(grid, grid).numpy()
    side = 256 // grid
    red = (first == (0, 0, 255)).all(axis=2)
    marked = red[side // 2 :: side, side // 2 :: side]
    assert (marked == cells).all()
    assert (group.searches[..., 0] == 70).all()
