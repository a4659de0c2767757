# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0, with BatchNorms folded into its convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from hcat_ros.network.backbones.base import Backbone
from hcat_ros.network.backbones.inverted_residual import InvertedResidual, SameConv2d


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0's stem and first blocks.

    Stride 16 ends with block 10 (112 channels), stride 8 with block 4 (40 channels).
    """

    mean = (127.0, 127.0, 127.0)
    std = (128.0, 128.0, 128.0)
    # (kernel, stride, expansion, channels, repeats) of each stage
    stages = (
        (3, 1, 1, 16, 1),
        (3, 2, 6, 24, 2),
        (5, 2, 6, 40, 2),
        (3, 2, 6, 80, 3),
        (5, 1, 6, 112, 3),
    )

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.channels = 32
        self.stem = SameConv2d(3, 32, 3, 2)
        blocks = []
        for kernel, first_stride, expansion, channels, repeats in self.stages[
            : 5 if stride == 16 else 3
        ]:
            for i in range(repeats):
                step = first_stride if i == 0 else 1
                hidden = self.channels * expansion
                blocks.append(InvertedResidual(self.channels, channels, kernel, step, hidden))
                self.channels = channels
        self.blocks = nn.Sequential(*blocks)

    def parts(self) -> list[nn.Module]:
        return [self.stem, *self.blocks]

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(F.relu6(self.stem(x)))
        return features
