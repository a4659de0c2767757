# SPDX-License-Identifier: Apache-2.0
"""ResNets without their last stages (He et al., 2016), with torchvision's tensor names."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from hcat_ros.network.backbones.base import Backbone


class BasicBlock(nn.Module):
    """Residual block of two convolutions."""

    expansion = 1

    def __init__(self, channels_in: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels_in, width, stride, dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """Residual block of three convolutions, the middle one with the stride (ResNet V1.5)."""

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        channels = width * self.expansion
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv3x3(width, width, stride, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class ResNet(Backbone):
    """ResNet that ends with layer3 at stride 16, with layer2 at stride 8.

    dilation: keep layer3 at stride 8, with its 3 x 3 convolutions dilated by 2 instead of strided
    (TransT: Chen et al., 2021, section 3.2).
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int]

    def __init__(self, stride: int, dilation: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.channels = 64
        self.layer1 = self._layer(0, 1)
        self.layer2 = self._layer(1, 2)
        self.layer3: nn.Module = nn.Identity()
        if stride == 16:
            self.layer3 = self._layer(2, 2)
        elif dilation:
            self.layer3 = self._layer(2, 1, dilation=2)

    def _layer(self, number: int, stride: int, dilation: int = 1) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for i in range(self.depths[number]):
            step = stride if i == 0 else 1
            blocks.append(self.block(self.channels, 64 * 2**number, step, dilation))
            self.channels = 64 * 2**number * self.block.expansion
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        features: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return features

    def parts(self) -> list[nn.Module]:
        layers = (self.layer1, self.layer2, self.layer3)
        return [self.conv1, *(x for x in layers if not isinstance(x, nn.Identity))]


class ResNet18(ResNet):
    """ResNet-18: 256 channels at stride 16, 128 at stride 8."""

    block = BasicBlock
    depths = (2, 2, 2)


class ResNet50(ResNet):
    """ResNet-50: 1024 channels at stride 16 or with dilation, 512 at stride 8 without."""

    block = Bottleneck
    depths = (3, 4, 6)


def _conv3x3(channels_in: int, channels: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels, 3, stride, dilation, dilation, bias=False)


def _downsample(channels_in: int, channels: int, stride: int) -> nn.Module:
    if stride == 1 and channels_in == channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
    )
