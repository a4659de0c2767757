# SPDX-License-Identifier: Apache-2.0
"""Runs that learn from teachers; what those say stands in test_teachers.py."""

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

from nanotracks import nanotrack
from runs import Stopped, assert_same, differ, scheduled, stop_at, trainer

from hcat_ros.commands.main import main
from hcat_ros.training import loop
from hcat_ros.training.config import DistillationConfig, TrainConfig
from hcat_ros.training.groups import GroupDataset, collate
from hcat_ros.training.log import read_rows
from hcat_ros.training.loop import STATE_FILE
from hcat_ros.training.losses import Losses
from hcat_ros.training.teachers import GRID, Lesson


@pytest.fixture
def taught(config: TrainConfig, tmp_path: Path) -> TrainConfig:
    """A tiny run with two teachers, of 2 and 1 channels."""
    network = dataclasses.replace(config.network, template_size=128, search_size=256)
    teachers = (
        nanotrack(tmp_path / 'first', np.array([[0.6, 0.3, 0.1], [-0.2, 0.5, 1.0]])),
        nanotrack(tmp_path / 'second', np.array([[1.0, 1.0, 1.0]]), 15),
    )
    return dataclasses.replace(config, network=network, teachers=teachers)


def with_shares(config: TrainConfig, scores: float, features: float) -> TrainConfig:
    return dataclasses.replace(config, distillation=DistillationConfig(scores, features))


def parts_of(losses: Losses) -> list[float]:
    return [8.334 * losses.classification, 5 * losses.l1, 2 * losses.giou]


def test_the_teachers_features_are_learned(
    taught: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the same four views again and again."""
    item = GroupDataset.__getitem__
    monkeypatch.setattr(GroupDataset, '__getitem__', lambda data, index: item(data, index % 2))
    taught = scheduled(taught, steps=10, learning_rate=1e-2, ema=0)

    def missed(weight: float) -> list[float]:
        seen: list[Losses] = []
        made = trainer(with_shares(taught, 0.5, weight), tmp_path / str(weight))
        for module in made.model.backbone.modules():
            if isinstance(module, torch.nn.Conv2d):  # as it starts, its features are alike
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
        made.run(lambda step, losses, pairs: seen.append(losses))
        for losses in seen:
            expected = sum(parts_of(losses)) + weight * losses.features
            assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
        return [losses.features.item() for losses in seen]

    with_weight, without = missed(4.0), missed(0.0)
    assert with_weight[0] == without[0]
    assert with_weight[-1] < 0.75 * with_weight[0]
    assert with_weight[-1] < 0.8 * without[-1]
    assert with_weight[-1] < 0.95  # 1 is what the mean of each channel costs


def test_a_distillation_of_nothing_leaves_the_run_as_it_was(
    taught: TrainConfig, tmp_path: Path
) -> None:
    config = scheduled(taught, steps=2, clip=0)
    alone = trainer(dataclasses.replace(config, teachers=()), tmp_path / 'alone')
    assert list(alone.adaptor.parameters()) == []
    seen: list[Losses] = []
    alone.run(lambda step, losses, pairs: seen.append(losses))
    nothing = trainer(with_shares(config, 0, 0), tmp_path / 'nothing')
    nothing.run(lambda step, losses, pairs: seen.append(losses))
    for one, other in zip(seen[:2], seen[2:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:5], other[:5], strict=True))
        assert one.features == 0 < other.features
    assert_same(alone.model, nothing.model)
    scores = trainer(with_shares(config, 1, 0), tmp_path / 'scores')
    scores.run()
    assert differ(alone.model, scores.model)


def test_each_pair_gets_what_the_teachers_say_of_it(
    taught: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair with the template of another object was not shown to them."""
    groups, views = 3, 3
    made = trainer(scheduled(taught, groups=3, views=3, batch=14, negatives=0.4), tmp_path)
    numbers = torch.arange(groups * views * views * GRID**2, dtype=torch.float32)
    scores = numbers.view(groups, views, views, GRID**2) / len(numbers)
    features = torch.rand(groups, views, 3, GRID, GRID)
    batch = collate([made.data[n] for n in range(groups)])._replace(lesson=Lesson(scores, features))
    calls: dict[str, Any] = {}

    def watched(name: str) -> None:
        original = getattr(loop, name)

        def call(*args: Any) -> Any:
            calls[name] = args, (result := original(*args))
            return result

        monkeypatch.setattr(loop, name, call)

    for name in ('pairs_of_groups', 'hcat_losses', 'feature_loss'):
        watched(name)
    made._train_step(batch)
    pairs = calls['pairs_of_groups'][1]
    assert 3 <= pairs.present.sum() <= 11
    given, share = calls['hcat_losses'][0][4:6]
    assert share == made.distillation.scores
    for template, search, present, row in zip(*pairs, given, strict=True):
        if present:
            group, first, second = template // views, template % views, search % views
            assert torch.equal(row, scores[group, first, second])
        else:
            assert torch.isnan(row).all()
    adapted, asked = calls['feature_loss'][0]
    assert adapted.shape == asked.shape == (groups * views, GRID**2, 3)
    for search in range(groups * views):
        expected = features[search // views, search % views].permute(1, 2, 0)
        assert torch.equal(asked[search].view(GRID, GRID, 3), expected)


@pytest.mark.parametrize('settings', [{}, {'precision': 'bf16', 'workers': 1}])
def test_a_resumed_run_ends_with_the_very_weights(
    taught: TrainConfig, tmp_path: Path, settings: dict[str, Any]
) -> None:
    taught = scheduled(taught, steps=4, **settings)
    whole = trainer(taught, tmp_path / 'whole')
    start = whole.adaptor[1].weight.detach().clone()
    assert start.shape == (3, taught.network.channels)
    whole.run()
    # Stopped after step 3; the last state is that of step 2.
    stopped = trainer(taught, tmp_path / 'parts')
    with pytest.raises(Stopped):
        stopped.run(stop_at(3), save_every=2)
    resumed = trainer(taught, tmp_path / 'parts')
    torch.manual_seed(12345)
    assert resumed.resume()
    assert resumed.step == 2
    resumed.run()
    assert_same(resumed.model, whole.model)
    assert_same(resumed.average, whole.average)
    assert_same(resumed.adaptor, whole.adaptor)
    assert not torch.equal(whole.adaptor[1].weight, start)
    states = [torch.load(tmp_path / part / STATE_FILE)['optimiser'] for part in ('parts', 'whole')]
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize('count', [0, 1])
def test_the_state_of_a_run_with_other_teachers_is_refused(
    taught: TrainConfig, tmp_path: Path, count: int
) -> None:
    other = dataclasses.replace(taught, teachers=taught.teachers[:count])
    for saved, resumed, name in ((taught, other, 'a'), (other, taught, 'b')):
        trainer(saved, tmp_path / name).save()
        with pytest.raises(ValueError, match=r'state\.pt is damaged or of another run'):
            trainer(resumed, tmp_path / name).resume()


def test_the_command_learns_as_the_file_says(
    config_file: Path, taught: TrainConfig, tmp_path: Path
) -> None:
    content = yaml.safe_load(config_file.read_text())
    content['network'] |= {'template_size': 128, 'search_size': 256}
    content['teachers'] = [vars(teacher) for teacher in taught.teachers]
    content['distillation'] = {'scores': 0.25, 'features': 7}
    config_file.write_text(yaml.safe_dump(content))
    options = ['--out', str(tmp_path / 'out'), '--steps', '1', '--log-every', '1']
    assert main(['train', str(config_file), *options]) == 0
    (row,) = read_rows(tmp_path / 'out' / 'log.jsonl')
    expected = 8.334 * row['classification'] + 5 * row['l1'] + 2 * row['giou']
    assert row['features'] > 0.5
    assert row['total'] == pytest.approx(expected + 7 * row['features'], abs=2e-3)
