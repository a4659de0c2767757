# SPDX-License-Identifier: Apache-2.0
"""The block of the MobileNets and of EfficientNet-Lite0, with BatchNorms folded in."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F


def hard_swish(x: Tensor) -> Tensor:
    """Return x min(max(x / 6 + 1 / 2, 0), 1), in operators that all runtimes have."""
    return x * F.hardsigmoid(x)


class SameConv2d(nn.Conv2d):
    """Convolution that keeps the image's size, or with stride 2 halves it (sides must be even).

    With stride 2 the total padding is odd. Its extra pixel is on the far side (right and bottom),
    like TensorFlow's SAME, or with `near` on the near side (left and top), like PyTorch's networks.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        near: bool = False,
    ) -> None:
        total = kernel - stride
        self.far: tuple[int, int] | None = None
        if stride > 1 and not near:
            self.far = (total // 2, total - total // 2)
        padding = 0 if self.far else kernel // 2
        super().__init__(channels_in, channels, kernel, stride, padding, groups=groups)

    def padded(self, x: Tensor) -> Tensor:
        """Return x with the padding that the convolution does not add itself."""
        return F.pad(x, self.far * 2) if self.far else x

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.padded(x))


class SqueezeExcitation(nn.Module):
    """Weights channels by a function of their means (Hu et al., 2018), with a hard sigmoid."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = F.adaptive_avg_pool2d(x, 1)
        weighted: Tensor = x * F.hardsigmoid(self.expand(F.relu(self.reduce(means))))
        return weighted


class InvertedResidual(nn.Module):
    """Pointwise to `hidden` channels, depthwise, pointwise back (Sandler et al., 2018).

    The first convolution is left out if `hidden` equals `channels_in`. squeezed: width of a
    squeeze-and-excitation after the depthwise convolution (MobileNetV3: Howard et al., 2019), 0 for
    none. It comes before the activation, or after it in a block without a first convolution.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int,
        stride: int,
        hidden: int,
        activation: Callable[[Tensor], Tensor] = F.relu6,
        squeezed: int = 0,
        near: bool = False,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.expand = SameConv2d(channels_in, hidden, 1) if hidden != channels_in else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, near=near)
        self.excitation = SqueezeExcitation(hidden, squeezed) if squeezed else None
        self.project = SameConv2d(hidden, channels, 1)
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x if self.expand is None else self.activation(self.expand(x)))
        if self.excitation is None:
            y = self.activation(y)
        elif self.expand is None:
            y = self.excitation(self.activation(y))
        else:
            y = self.activation(self.excitation(y))
        y = self.project(y)
        return x + y if self.residual else y
