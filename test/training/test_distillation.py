# SPDX-License-Identifier: Apache-2.0
"""Training runs that learn from teachers; the folder teachers/ tests the teachers themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')
pytest.importorskip('onnx', reason='needs ONNX')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from lightfcs import lightfc
from nanotracks import nanotrack
from runs import Stopped, assert_same, differ, scheduled, stop_at, trainer

from hcat_ros.commands.main import main
from hcat_ros.training import loop
from hcat_ros.training.config import DistillationConfig, TrainConfig
from hcat_ros.training.groups import Group, GroupDataset, collate
from hcat_ros.training.log import read_rows
from hcat_ros.training.loop import STATE_FILE
from hcat_ros.training.losses import Losses
from hcat_ros.training.teachers import GRID, Lesson


@pytest.fixture
def taught(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """A tiny run with two teachers, of which one has boxes enabled."""
    network = dataclasses.replace(config.network, template_size=128, search_size=256)
    nano = nanotrack(tmp_path / 'nano', np.array([[0.6, 0.3, 0.1], [-0.2, 0.5, 1.0]]), 15)
    teachers = (
        dataclasses.replace(nano, boxes=False),
        lightfc(tmp_path / 'lightfc', np.array([[1.0, 1.0, 1.0]])),
    )
    return dataclasses.replace(config, network=network, teachers=teachers)


@pytest.fixture
def agreeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the teachers' boxes with boxes near the true ones, as real teachers give."""
    item = GroupDataset.__getitem__

    def get(data: GroupDataset, index: int) -> Group:
        group = item(data, index)
        if group.lesson is None:
            return group
        near = group.boxes[None] + torch.tensor([0.01, 0.0, 0.02, 0.0])
        boxes = torch.where(torch.isnan(group.lesson.boxes), torch.nan, near)
        return group._replace(lesson=group.lesson._replace(boxes=boxes))

    monkeypatch.setattr(GroupDataset, '__getitem__', get)


def with_shares(config: TrainConfig, scores: float, boxes: float) -> TrainConfig:
    return dataclasses.replace(config, distillation=DistillationConfig(scores, boxes))


@pytest.mark.usefixtures('agreeing')
def test_distillation_with_shares_of_0_does_not_change_the_run(
    taught: TrainConfig, tmp_path: Path
) -> None:
    config = scheduled(taught, steps=2, clip=0)
    alone = trainer(dataclasses.replace(config, teachers=()), tmp_path / 'alone')
    seen: list[Losses] = []
    alone.run(lambda step, losses, pairs: seen.append(losses))
    nothing = trainer(with_shares(config, 0, 0), tmp_path / 'nothing')
    nothing.run(lambda step, losses, pairs: seen.append(losses))
    for one, other in zip(seen[:2], seen[2:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:5], other[:5], strict=True))
        assert one.taught == 0 < other.taught
    assert_same(alone.model, nothing.model)
    for shares in ((1, 0), (0, 1)):
        other_run = trainer(with_shares(config, *shares), tmp_path / str(shares))
        other_run.run()
        assert differ(alone.model, other_run.model)


def test_each_pair_gets_the_teachers_scores_and_box_for_it(
    taught: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teachers did not see pairs with the template of another object."""
    groups, views = 3, 3
    made = trainer(scheduled(taught, groups=3, views=3, batch=14, negatives=0.4), tmp_path)
    numbers = torch.arange(groups * views * views * GRID**2, dtype=torch.float32)
    scores = numbers.view(groups, views, views, GRID**2) / len(numbers)
    boxes = torch.rand(groups, views, views, 4)
    batch = collate([made.data[n] for n in range(groups)])._replace(lesson=Lesson(scores, boxes))
    calls: dict[str, Any] = {}

    def watched(name: str) -> None:
        original = getattr(loop, name)

        def call(*args: Any) -> Any:
            calls[name] = args, (result := original(*args))
            return result

        monkeypatch.setattr(loop, name, call)

    for name in ('pairs_of_groups', 'hcat_losses'):
        watched(name)
    made.train_step(batch)
    pairs = calls['pairs_of_groups'][1]
    assert 3 <= pairs.present.sum() <= 11
    given, shares = calls['hcat_losses'][0][4:6]
    assert shares == (made.distillation.scores, made.distillation.boxes)
    for template, search, present, row, box in zip(*pairs, *given, strict=True):
        if present:
            group, first, second = template // views, template % views, search % views
            assert torch.equal(row, scores[group, first, second])
            assert torch.equal(box, boxes[group, first, second])
        else:
            assert torch.isnan(row).all()
            assert torch.isnan(box).all()


@pytest.mark.usefixtures('agreeing')
@pytest.mark.parametrize('settings', [{}, {'precision': 'bf16', 'workers': 1}])
def test_a_resumed_run_ends_with_the_same_weights(
    taught: TrainConfig, tmp_path: Path, settings: dict[str, Any]
) -> None:
    taught = scheduled(taught, steps=4, **settings)
    whole = trainer(taught, tmp_path / 'whole')
    whole.run()
    # Stopped after step 3; the last saved state is that of step 2.
    stopped = trainer(taught, tmp_path / 'parts')
    with pytest.raises(Stopped):
        stopped.run(stop_at(3), save_every=2)
    resumed = trainer(taught, tmp_path / 'parts')
    torch.manual_seed(12345)
    assert resumed.resume()
    assert resumed.step == 2
    resumed.run()
    assert_same(resumed.model, whole.model)
    assert_same(resumed.ema_model, whole.ema_model)
    states = [torch.load(tmp_path / part / STATE_FILE)['optimiser'] for part in ('parts', 'whole')]
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_the_train_command_uses_teachers_and_shares_of_the_run_file(
    config_file: Path, taught: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = yaml.safe_load(config_file.read_text())
    content['network'] |= {'template_size': 128, 'search_size': 256}
    content['teachers'] = [vars(teacher) for teacher in taught.teachers]
    content['distillation'] = {'scores': 0.25, 'boxes': 0.75}
    config_file.write_text(yaml.safe_dump(content))
    given: list[Any] = []
    original = loop.hcat_losses

    def losses(*args: Any) -> Any:
        given.extend(args[4:6])
        return original(*args)

    monkeypatch.setattr(loop, 'hcat_losses', losses)
    options = ['--out', str(tmp_path / 'out'), '--steps', '1', '--log-every', '1']
    assert main(['train', str(config_file), *options]) == 0
    assert given[0].scores.shape == (4, GRID**2)
    assert given[1] == (0.25, 0.75)
    (row,) = read_rows(tmp_path / 'out' / 'log.jsonl')
    expected = 8.334 * row['classification'] + 5 * row['l1'] + 2 * row['giou']
    assert row['total'] == pytest.approx(expected, abs=2e-3)
    assert 0 <= row['taught'] <= 1
