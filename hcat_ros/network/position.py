# SPDX-License-Identifier: Apache-2.0
"""Constants of the network that depend on the grid alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, channels: int) -> Tensor:
    """Return the two-dimensional sine position code P(h, w), (1, height * width, channels).

    This is DETR's normalised code: coordinates 1..n are scaled to (0, 2 pi]; the first half of the
    channels codes y, the second half x; temperature 10000; sine and cosine interleaved.
    """
    half = channels // 2
    frequency = 10000.0 ** (2 * (torch.arange(half) // 2) / half)

    def code(n: int) -> Tensor:
        coordinate = torch.arange(1, n + 1) / (n + 1e-6) * 2 * math.pi
        angle = coordinate[:, None] / frequency
        return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1)

    y = code(height)[:, None].expand(height, width, half)
    x = code(width)[None].expand(height, width, half)
    return torch.cat((y, x), dim=2).reshape(1, height * width, channels)


def anchor_logits(grid: int) -> Tensor:
    """Return the logits that the box anchor adds, (1, grid * grid, 4) as cx cy w h.

    Each cell starts from a box around its own middle. The box's sides are a quarter of the search
    region's, which is the target's size at search factor 4.
    """
    middle = torch.logit((torch.arange(grid) + 0.5) / grid)
    cy, cx = torch.meshgrid(middle, middle, indexing='ij')
    size = torch.logit(torch.full_like(cx, 0.25))
    return torch.stack((cx, cy, size, size), dim=2).reshape(1, grid * grid, 4)
