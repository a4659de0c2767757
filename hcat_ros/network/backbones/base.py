# SPDX-License-Identifier: Apache-2.0
"""What the network asks of a backbone."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

RGB = tuple[float, float, float]
IMAGENET_MEAN: RGB = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD: RGB = (0.229 * 255, 0.224 * 255, 0.225 * 255)


class Backbone(nn.Module):
    """Image (B, 3, H, W), normalised, to features (B, channels, H / stride, W / stride)."""

    channels: int
    mean: RGB = IMAGENET_MEAN
    """Mean of RGB in 0..255 that normalises the input."""
    std: RGB = IMAGENET_STD

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return the features of x."""

    @abstractmethod
    def parts(self) -> list[nn.Module]:
        """Return the stem and the blocks in the order in which an image passes them.

        Training freezes the first of them; see `freeze_backbone`.
        """
