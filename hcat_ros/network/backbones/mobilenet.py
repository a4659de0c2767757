# SPDX-License-Identifier: Apache-2.0
"""The MobileNets of other small trackers, with BatchNorms folded into their convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from hcat_ros.network.backbones.base import RGB, Backbone
from hcat_ros.network.backbones.inverted_residual import (
    InvertedResidual,
    SameConv2d,
    hard_swish,
)


class Block(NamedTuple):
    """Settings of an `InvertedResidual`, in the order of the columns in MobileNetV3's tables."""

    kernel: int
    hidden: int
    channels: int
    squeezed: int
    activation: Callable[[Tensor], Tensor]
    stride: int


class MobileNet(Backbone):
    """A 3 x 3 convolution with stride 2 and the inverted residuals up to a stride."""

    stem_channels: int
    stem_activation: staticmethod[[Tensor], Tensor]
    table: tuple[Block, ...]

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.channels = self.stem_channels
        self.stem = SameConv2d(3, self.channels, 3, 2, near=True)
        blocks: list[nn.Module] = []
        reached = 2
        for kernel, hidden, channels, squeezed, activation, step in self.table:
            reached *= step
            if reached > stride:
                break
            shape = (self.channels, channels, kernel, step, hidden)
            blocks.append(InvertedResidual(*shape, activation, squeezed, near=True))
            self.channels = channels
        self.blocks = nn.Sequential(*blocks)

    def parts(self) -> list[nn.Module]:
        return [self.stem, *self.blocks]

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(self.stem_activation(self.stem(x)))
        return features


class MobileNetV3NanoTrackV2(MobileNet):
    """NanoTrack v2's MobileNetV3-Small (Howard et al., 2019, table 2) to stride 16, 48 channels.

    Its input is RGB in 0..255, not normalised.
    """

    mean: RGB = (0.0, 0.0, 0.0)
    std: RGB = (1.0, 1.0, 1.0)
    stem_channels = 16
    stem_activation = staticmethod(hard_swish)
    table: tuple[Block, ...] = (
        Block(3, 16, 16, 8, F.relu, 2),
        Block(3, 72, 24, 0, F.relu, 2),
        Block(3, 88, 24, 0, F.relu, 1),
        Block(5, 96, 40, 24, hard_swish, 2),
        Block(5, 240, 40, 64, hard_swish, 1),
        Block(5, 240, 40, 64, hard_swish, 1),
        Block(5, 120, 48, 32, hard_swish, 1),
        Block(5, 144, 48, 40, hard_swish, 1),
    )


class MobileNetV3NanoTrackV3(MobileNetV3NanoTrackV2):
    """NanoTrack v3's MobileNetV3-Small: one more block, at stride 16 instead of 32, 96 channels."""

    table = (*MobileNetV3NanoTrackV2.table, Block(5, 288, 96, 72, hard_swish, 1))


def _stage(channels_in: int, channels: int, repeats: int, stride: int) -> list[Block]:
    """Return the blocks of a row of MobileNetV2's table 2 with expansion 6."""
    widths = [channels_in] + [channels] * (repeats - 1)
    steps = [stride] + [1] * (repeats - 1)
    return [Block(3, 6 * w, channels, 0, F.relu6, step) for w, step in zip(widths, steps)]


class MobileNetV2LightFC(MobileNet):
    """LightFC's MobileNetV2 (Sandler et al., 2018, table 2) to stride 16, 96 channels."""

    stem_channels = 32
    stem_activation = staticmethod(F.relu6)
    table = (
        Block(3, 32, 16, 0, F.relu6, 1),
        *_stage(16, 24, 2, 2),
        *_stage(24, 32, 3, 2),
        *_stage(32, 64, 4, 2),
        *_stage(64, 96, 3, 1),
    )
