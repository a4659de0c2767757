# SPDX-License-Identifier: Apache-2.0
"""Training steps; test_loop_resume.py has the tests of saving and resuming."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from runs import assert_same, scheduled, trainer

from hcat_ros.network import HCATConfig, load_checkpoint
from hcat_ros.training import loop
from hcat_ros.training.config import TrainConfig
from hcat_ros.training.groups import GroupDataset
from hcat_ros.training.loop import STATE_FILE, WEIGHTS_FILE
from hcat_ros.training.losses import Losses

MODEL = Path(__file__).parents[2] / 'models/hcat_nano/template.onnx'


def test_the_loss_falls_during_training(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same four views are used in every step."""
    network = dataclasses.replace(config.network, box_anchor=True, dropout=0.0)
    config = scheduled(config, steps=40, learning_rate=3e-3, negatives=0, ema=0.9)
    made = trainer(dataclasses.replace(config, network=network), tmp_path)
    for module in made.model.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):  # fresh weights give similar features
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
    item = GroupDataset.__getitem__
    monkeypatch.setattr(GroupDataset, '__getitem__', lambda data, index: item(data, index % 2))
    seen: list[Losses] = []
    made.run(lambda step, losses, pairs: seen.append(losses))
    assert len(seen) == 40

    def mean(name: str, steps: slice) -> float:
        return float(np.mean([getattr(losses, name).item() for losses in seen[steps]]))

    first, last = slice(0, 4), slice(-4, None)
    assert mean('total', last) < 0.75 * mean('total', first)
    assert mean('iou', last) > mean('iou', first) + 0.1


@pytest.mark.parametrize(
    ('fields', 'expected'),
    [
        # steps 100, warm-up 10
        ({'decay': 'cosine', 'final': 0.1}, {0: 0.1, 4: 0.5, 9: 1, 10: 1, 55: 0.55, 100: 0.1}),
        ({'decay': 'step', 'decay_at': 0.8}, {0: 0.1, 9: 1, 50: 1, 79: 1, 80: 0.1, 99: 0.1}),
        ({'decay': 'step', 'warm_up': 0}, {0: 1, 99: 0.1}),
        ({'decay': 'cosine', 'warm_up': 0, 'final': 0.0}, {0: 1, 50: 0.5, 100: 0, 120: 0}),
        ({'warm_up': 100, 'final': 0.3}, {49: 0.5, 99: 1, 100: 1}),
    ],
)
def test_the_learning_rate_follows_its_schedule(
    config: TrainConfig, tmp_path: Path, fields: dict[str, Any], expected: dict[int, float]
) -> None:
    made = trainer(scheduled(config, **{'steps': 100, 'warm_up': 10, **fields}), tmp_path)
    assert {step: made.learning_rate_factor(step) for step in expected} == pytest.approx(
        expected, abs=1e-12
    )


def test_the_backbone_has_its_own_learning_rate(config: TrainConfig, tmp_path: Path) -> None:
    config = scheduled(config, learning_rate=1e-3, backbone_rate=0.25, warm_up=0, steps=1)
    made = trainer(config, tmp_path)
    made.run()
    rest, backbone = made.optimiser.param_groups
    assert (rest['lr'], backbone['lr']) == (1e-3, 0.25e-3)
    assert {rest['weight_decay'], backbone['weight_decay']} == {1e-4}
    ids = {id(parameter) for parameter in made.model.backbone.parameters()}
    assert all(id(parameter) in ids for parameter in backbone['params'])
    assert not any(id(parameter) in ids for parameter in rest['params'])
    assert len(trainer(scheduled(config, trained_blocks=0), tmp_path).optimiser.param_groups) == 1


def test_frozen_parts_do_not_change(config: TrainConfig, tmp_path: Path) -> None:
    made = trainer(scheduled(config, steps=2), tmp_path)
    before = copy.deepcopy(made.model.state_dict())
    made.run()
    changed = {n for n, v in made.model.state_dict().items() if not torch.equal(v, before[n])}
    assert {name for name in changed if name.startswith('backbone.')} == {
        f'backbone.blocks.10.{part}.{kind}'
        for part in ('expand', 'project')
        for kind in ('weight', 'bias')
    }
    outside = {name for name in before if not name.startswith('backbone.')}
    # Gradients reach everything else; softmax makes those of the keys' biases 0.
    assert {name for name in outside - changed if not name.endswith('in_proj_bias')} == set()


@pytest.mark.parametrize('blocks', [0, -1])
def test_the_batch_norms_of_resnet_do_not_change(
    config: TrainConfig, tmp_path: Path, blocks: int
) -> None:
    network = HCATConfig(**{**vars(config.network), 'backbone': 'resnet18'})
    config = scheduled(dataclasses.replace(config, network=network), trained_blocks=blocks, steps=2)
    made = trainer(config, tmp_path)
    before = copy.deepcopy(made.model.state_dict())
    made.run()
    after = made.model.state_dict()
    norms = [name for name in before if '.bn' in name or 'downsample.1' in name]
    assert len(norms) > 50
    assert all(torch.equal(before[name], after[name]) for name in norms)
    assert torch.equal(before['input_proj.weight'], after['input_proj.weight']) is False
    name = 'backbone.0.body.conv1.weight'
    assert torch.equal(before[name], after[name]) == (blocks == 0)


def test_the_averaged_weights_follow_the_weights(config: TrainConfig, tmp_path: Path) -> None:
    made = trainer(scheduled(config, ema=0.5, steps=4), tmp_path)
    parameter, kept = (
        made.model.score_head.layers[0].weight,
        made.ema_model.score_head.layers[0].weight,
    )
    expected = parameter.detach().clone()

    def on_step(step: int, losses: Losses, pairs: float) -> None:
        nonlocal expected
        # The weight of the old average is 1 / 10 in step 0, 2 / 11 in step 1, and so on up to 0.5.
        decay = min(0.5, step / (9 + step))
        expected = decay * expected + (1 - decay) * parameter.detach()
        torch.testing.assert_close(kept, expected)
        assert not torch.equal(kept, parameter)

    made.run(on_step)
    assert_same(load_checkpoint(tmp_path / WEIGHTS_FILE), made.ema_model)


def test_without_averaging_the_weights_themselves_are_saved(
    config: TrainConfig, tmp_path: Path
) -> None:
    made = trainer(scheduled(config, ema=0, steps=2), tmp_path)
    made.run()
    assert made.ema_model is made.model
    found = load_checkpoint(tmp_path / WEIGHTS_FILE)
    assert found.config == config.network
    assert_same(found, made.model)


def test_a_loss_that_is_not_finite_ends_the_run(config: TrainConfig, tmp_path: Path) -> None:
    made = trainer(config, tmp_path / 'out')

    def spoil(step: int, losses: Losses, pairs: float) -> None:
        if step == 3:
            with torch.no_grad():
                made.model.score_head.layers[2].bias.fill_(math.nan)

    with pytest.raises(FloatingPointError, match='the loss is nan at step 3'):
        made.run(spoil, save_every=2)
    # The state that was saved before is still valid.
    state = torch.load(tmp_path / 'out' / STATE_FILE)
    assert state['step'] == 2
    assert all(torch.isfinite(value).all() for value in state['model'].values())


def test_a_gradient_that_is_not_finite_ends_the_run(config: TrainConfig, tmp_path: Path) -> None:
    made = trainer(config, tmp_path)
    made.model.projection.weight.register_hook(lambda gradient: gradient * math.inf)
    before = copy.deepcopy(made.model)
    with pytest.raises(FloatingPointError, match=r'the gradient is (nan|inf) at step 0'):
        made.run()
    assert_same(before, made.model)


@pytest.mark.parametrize('clip', [0.01, 0.0])
def test_the_norm_of_the_gradient_is_clipped(
    config: TrainConfig, tmp_path: Path, clip: float
) -> None:
    made = trainer(scheduled(config, clip=clip, steps=1), tmp_path)
    made.run()
    gradients = [p.grad for p in made.model.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if clip:
        assert norm.item() == pytest.approx(clip, rel=1e-3)
    else:
        assert norm.item() > 0.1


def test_pairs_per_second_include_the_waiting_for_views(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(loop.time, 'perf_counter', lambda: float(next(clock)))
    rates: list[float] = []
    trainer(scheduled(config, steps=3), tmp_path).run(lambda step, losses, rate: rates.append(rate))
    assert rates == [4.0] * 3  # a batch of 4 per clock reading


def test_each_process_and_step_has_its_own_groups() -> None:
    world, groups, steps = 3, 2, 4
    numbers = [
        list(loop.StepSampler(range(first, steps), groups, rank, world))
        for first in (0, 2)
        for rank in range(world)
    ]
    whole, later = numbers[:world], numbers[world:]
    assert sorted(number for part in whole for number in part) == list(
        range(world * groups * steps)
    )
    assert [part[4:] for part in whole] == later


@pytest.mark.parametrize('frozen', [True, False])
def test_batchnorms_are_trained_on_request(
    config: TrainConfig, tmp_path: Path, frozen: bool
) -> None:
    network = dataclasses.replace(config.network, backbone='resnet18')
    config = dataclasses.replace(config, network=network, backbone='')
    config = scheduled(config, steps=2, warm_up=0, trained_blocks=1, frozen_batchnorm=frozen)
    made = trainer(config, tmp_path)
    before = copy.deepcopy(made.model.backbone.state_dict())
    made.run()
    kept = load_checkpoint(tmp_path / WEIGHTS_FILE).backbone.state_dict()
    for name, value in made.model.backbone.state_dict().items():
        last = name.startswith('layer3.')
        norm = '.bn' in name or 'downsample.1' in name
        changed = not torch.equal(value, before[name])
        assert changed == (last and not (norm and frozen)), name
        if name.endswith(('running_mean', 'running_var')):
            assert torch.equal(kept[name], value), 'the averaged weights go with its statistics'


def test_forked_processes_inherit_no_garbage(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked process that collects an ONNX Runtime session waits forever for its threads."""
    runtime = pytest.importorskip('onnxruntime')
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 2
    garbage: list[Any] = [runtime.InferenceSession(MODEL, options)]
    garbage.append(garbage)
    item = GroupDataset.__getitem__

    def collect_first(data: GroupDataset, index: int) -> Any:
        gc.collect()
        return item(data, index)

    monkeypatch.setattr(GroupDataset, '__getitem__', collect_first)
    monkeypatch.setattr(loop, 'DataLoader', functools.partial(loop.DataLoader, timeout=60))
    made = trainer(scheduled(config, steps=1, workers=1), tmp_path)
    gc.disable()  # only the trainer collects it
    try:
        del garbage
        made.run()
    finally:
        gc.enable()
    assert made.step == 1
