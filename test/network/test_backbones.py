# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')

import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from hcat_ros.network import HCATConfig
from hcat_ros.network.backbones import (
    EfficientNetLite0,
    InvertedResidual,
    ResNet18,
    ResNet50,
    SameConv2d,
    build_backbone,
    normalise,
)
from hcat_ros.network.backbones.inverted_residual import hard_swish


@pytest.mark.parametrize(
    ('name', 'stride', 'channels'),
    [
        ('resnet18', 16, 256),
        ('resnet18', 8, 128),
        ('resnet50', 16, 1024),
        ('resnet50', 8, 512),
        ('efficientnet_lite0', 16, 112),
        ('efficientnet_lite0', 8, 40),
        ('mobilenetv3_nanotrack_v2', 16, 48),
        ('mobilenetv3_nanotrack_v2', 8, 24),
        ('mobilenetv3_nanotrack_v3', 16, 96),
        ('mobilenetv3_nanotrack_v3', 8, 24),
        ('mobilenetv2_lightfc', 16, 96),
        ('mobilenetv2_lightfc', 8, 32),
    ],
)
@pytest.mark.parametrize('size', [32, 128])
def test_strides_and_channels(name: str, stride: int, channels: int, size: int) -> None:
    backbone = build_backbone(HCATConfig(backbone=name, stride=stride)).eval()
    with torch.inference_mode():
        features = backbone(torch.zeros(2, 3, size, size))
    assert features.shape == (2, channels, size // stride, size // stride)
    assert backbone.channels == channels


def test_stride_8_is_stride_16_without_its_last_stages() -> None:
    x = torch.randn(1, 3, 64, 64)
    for kind in (ResNet18, EfficientNetLite0):
        deep, shallow = kind(16).eval(), kind(8).eval()
        shallow.load_state_dict({k: deep.state_dict()[k] for k in shallow.state_dict()})
        features = []
        last = deep.layer2 if kind is ResNet18 else deep.blocks[4]
        last.register_forward_hook(lambda module, args, output, to=features: to.append(output))
        with torch.inference_mode():
            deep(x)
            assert_close(shallow(x), features[0])


def test_resnet_50_has_the_size_and_the_names_of_torchvision() -> None:
    backbone = ResNet50(16)
    # ResNet-50's 25,557,032 less layer4 (14,964,736) and the classifier (2,049,000).
    assert sum(value.numel() for value in backbone.parameters()) == 8_543_296
    names = set(backbone.state_dict())
    assert {'layer3.5.conv3.weight', 'layer3.0.downsample.1.running_var', 'bn1.bias'} <= names
    assert not [name for name in names if name.startswith(('layer4', 'fc'))]


def test_a_dilated_resnet_keeps_its_last_stage_at_stride_8() -> None:
    dilated, plain = ResNet50(8, dilation=True).eval(), ResNet50(16).eval()
    assert dilated.channels == 1024
    dilated.load_state_dict(plain.state_dict())  # the same tensors at half of the stride
    convolutions = [m for m in dilated.layer3.modules() if isinstance(m, nn.Conv2d)]
    kinds = {(m.kernel_size[0], m.stride[0], m.dilation[0]) for m in convolutions}
    assert kinds == {(1, 1, 1), (3, 1, 2)}
    x = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        fine, coarse = dilated(x), plain(x)
    assert fine.shape == (1, 1024, 12, 12)
    # Replacing a stride by dilation keeps every other cell unchanged if the layers after the
    # strided convolution are dilated and that convolution itself is not. Here it
    # is dilated too (TransT), so its neighbours are those of the coarse grid.
    assert coarse.shape == (1, 1024, 6, 6)
    assert not torch.allclose(fine[..., ::2, ::2], coarse)
    dilated.layer3[0].conv2.dilation = dilated.layer3[0].conv2.padding = (1, 1)
    with torch.inference_mode():
        assert_close(dilated(x)[..., ::2, ::2], coarse)


@pytest.mark.parametrize(
    'name', ['resnet18', 'resnet50', 'efficientnet_lite0', 'mobilenetv3_nanotrack_v3']
)
def test_parts_run_in_the_order_in_which_they_are_listed(name: str) -> None:
    backbone = build_backbone(HCATConfig(backbone=name)).eval()
    passed: list[int] = []
    for number, part in enumerate(backbone.parts()):
        part.register_forward_hook(lambda *args, number=number: passed.append(number))
    with torch.inference_mode():
        backbone(torch.zeros(1, 3, 32, 32))
    assert passed == list(range(len(backbone.parts())))


def test_lite0_has_the_number_of_parameters_in_its_specification() -> None:
    named = dict(EfficientNetLite0(16).named_parameters())
    biases = sum(value.numel() for name, value in named.items() if name.endswith('bias'))
    total = sum(value.numel() for value in named.values())
    # The specification counts both parameters of a BatchNorm, folded into one bias here.
    assert total + biases == pytest.approx(0.70e6, rel=0.002)
    assert len(EfficientNetLite0(16).blocks) == 11


def same_convolution(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, near: bool
) -> np.ndarray:
    """A convolution of (C, H, W) that keeps ceil(n / stride) of a side, pixel by pixel."""
    channels, height, width = x.shape
    kernel = weight.shape[-1]
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    pad_y = max((rows - 1) * stride + kernel - height, 0)
    pad_x = max((columns - 1) * stride + kernel - width, 0)
    # TensorFlow's SAME has the odd pixel on the far side, PyTorch's networks on the near one.
    top, left = (pad_y + near) // 2, (pad_x + near) // 2
    padded = np.zeros((channels, height + pad_y, width + pad_x))
    padded[:, top : top + height, left : left + width] = x
    result = np.empty((len(weight), rows, columns))
    for row in range(rows):
        for column in range(columns):
            y, x0 = row * stride, column * stride
            window = padded[:, y : y + kernel, x0 : x0 + kernel]
            if weight.shape[1] == 1:  # depthwise
                result[:, row, column] = (window * weight[:, 0]).sum((1, 2)) + bias
            else:
                result[:, row, column] = (window[None] * weight).sum((1, 2, 3)) + bias
    return result


@pytest.mark.parametrize(
    ('kernel', 'stride', 'depthwise'),
    [
        (1, 1, False),
        (3, 1, False),
        (3, 2, False),
        (3, 1, True),
        (3, 2, True),
        (5, 1, True),
        (5, 2, True),
    ],
)
@pytest.mark.parametrize('size', [(8, 8), (6, 10)])
@pytest.mark.parametrize('near', [False, True])
def test_same_padding_matches_a_numpy_convolution(
    kernel: int, stride: int, depthwise: bool, size: tuple[int, int], near: bool
) -> None:
    torch.manual_seed(0)
    channels, groups = (4, 4) if depthwise else (5, 1)
    convolution = SameConv2d(4, channels, kernel, stride, groups, near)
    x = torch.randn(1, 4, *size)
    with torch.inference_mode():
        found = convolution(x)[0].numpy()
    weight, bias = convolution.weight.detach().numpy(), convolution.bias.detach().numpy()
    expected = same_convolution(x[0].numpy(), weight, bias, stride, near)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ('name', 'layers', 'far'),
    [
        ('efficientnet_lite0', 4, {(3, (0, 1)), (5, (1, 2))}),
        ('mobilenetv3_nanotrack_v3', 4, {(3, None), (5, None)}),
        ('mobilenetv2_lightfc', 4, {(3, None)}),
    ],
)
def test_stride_2_padding_follows_the_networks_original_framework(
    name: str, layers: int, far: set[tuple[int, tuple[int, int] | None]]
) -> None:
    """TensorFlow pads the far side, PyTorch the near one, as Conv2d itself does."""
    backbone = build_backbone(HCATConfig(backbone=name))
    strided = [m for m in backbone.modules() if isinstance(m, SameConv2d) and m.stride[0] == 2]
    assert {(m.kernel_size[0], m.far) for m in strided} == far
    assert len(strided) == layers


@pytest.mark.parametrize(
    ('channels_in', 'channels', 'stride', 'residual'),
    [(8, 8, 1, True), (8, 16, 1, False), (8, 8, 2, False)],
)
def test_a_block_adds_its_input_if_the_shapes_agree(
    channels_in: int, channels: int, stride: int, residual: bool
) -> None:
    block = InvertedResidual(channels_in, channels, 3, stride, 6)
    nn.init.zeros_(block.project.weight)
    nn.init.zeros_(block.project.bias)
    x = torch.randn(1, channels_in, 8, 8)
    expected = x if residual else torch.zeros(1, channels, 8 // stride, 8 // stride)
    assert_close(block(x), expected)


def test_activations_are_clipped_at_6() -> None:
    block = InvertedResidual(1, 1, 1, 1, 1)
    for layer in (block.depthwise, block.project):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    block.residual = False
    x = torch.tensor([-5.0, 3.0, 60.0]).reshape(1, 1, 1, 3)
    assert block(x).flatten().tolist() == [0, 3, 6]


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('hidden', [6, 4])
def test_a_squeeze_and_excitation_block_scales_its_channels(stride: int, hidden: int) -> None:
    """As in MobileNetV3: before the activation, or after it in a block without an expansion."""
    torch.manual_seed(0)
    shape = (4, 4, 5, stride, hidden)
    block = InvertedResidual(*shape, activation=hard_swish, squeezed=3, near=True)
    names = {name.split('.')[0] for name, _ in block.named_parameters()}
    assert names == {'depthwise', 'excitation', 'project'} | ({'expand'} if hidden == 6 else set())
    x = torch.randn(2, 4, 8, 8)
    y = x if hidden == 4 else F.hardswish(block.expand(x))
    y = F.conv2d(y, block.depthwise.weight, block.depthwise.bias, stride, 2, groups=hidden)
    y = F.hardswish(y) if hidden == 4 else y
    reduce, expand = block.excitation.reduce, block.excitation.expand
    hid = F.relu(F.linear(y.mean((2, 3)), reduce.weight.flatten(1), reduce.bias))
    weights = F.linear(hid, expand.weight.flatten(1), expand.bias)
    y = y * (weights / 6 + 0.5).clamp(0, 1)[:, :, None, None]
    y = y if hidden == 4 else F.hardswish(y)
    y = block.project(y)
    assert_close(block(x), x + y if stride == 1 else y)


def test_hard_swish_matches_pytorch() -> None:
    x = torch.linspace(-5, 5, 101)
    assert_close(hard_swish(x), F.hardswish(x))


@pytest.mark.parametrize(
    ('name', 'mean', 'std'),
    [
        ('mobilenetv3_nanotrack_v2', (0, 0, 0), (1 / 255,) * 3),
        ('mobilenetv2_lightfc', (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ('resnet18', (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ('efficientnet_lite0', (127 / 255,) * 3, (128 / 255,) * 3),
    ],
)
def test_crops_are_normalised(name: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    crop = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8)
    found = normalise(torch.from_numpy(crop), build_backbone(HCATConfig(backbone=name)))
    expected = ((crop / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-6)
