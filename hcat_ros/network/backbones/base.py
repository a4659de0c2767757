# SPDX-License-Identifier: Apache-2.0
"""The interface of a backbone."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

RGB = tuple[float, float, float]
IMAGENET_MEAN: RGB = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD: RGB = (0.229 * 255, 0.224 * 255, 0.225 * 255)


class Backbone(nn.Module):
    """Maps normalised images (B, 3, H, W) to features (B, channels, H / stride, W / stride)."""

    channels: int
    """Number of channels of the features."""
    mean: RGB = IMAGENET_MEAN
    """Mean that normalises the input, RGB in 0..255."""
    std: RGB = IMAGENET_STD
    """Standard deviation that normalises the input, RGB in 0..255."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the features of x."""

    @abstractmethod
    def parts(self) -> list[nn.Module]:
        """Return the stem and the blocks in the order of computation.

        Training freezes the stem and the first blocks; see `freeze_backbone`.
        """
