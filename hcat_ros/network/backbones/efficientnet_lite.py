# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0, BatchNorms folded into its convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from hcat_ros.network.backbones.base import Backbone


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding, the extra pixel of stride 2 on the far side.

    Only for inputs whose sides the stride divides.
    """

    def __init__(
        self, channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        total = kernel - stride
        self.same = (total // 2, total - total // 2)
        padding = total // 2 if stride == 1 else 0
        super().__init__(channels_in, channels, kernel, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] > 1:
            x = F.pad(x, self.same * 2)
        return super().forward(x)


class InvertedResidual(nn.Module):
    """MobileNetV2's block with ReLU6 and BatchNorm folded into the convolutions."""

    def __init__(
        self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = SameConv2d(channels_in, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, channels, 1)
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite0(Backbone):
    """EfficientNet-Lite0's stem and first blocks: 0-10 end stride 16 (112 channels), 0-4 8 (40)."""

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
                blocks.append(InvertedResidual(self.channels, channels, kernel, step, expansion))
                self.channels = channels
        self.blocks = nn.Sequential(*blocks)

    def parts(self) -> list[nn.Module]:
        return [self.stem, *self.blocks]

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.blocks(F.relu6(self.stem(x)))
        return features
