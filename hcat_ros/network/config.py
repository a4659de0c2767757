# SPDX-License-Identifier: Apache-2.0
"""What can be chosen in an HCAT network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BackboneName = Literal['resnet18', 'efficientnet_lite0']


@dataclass(frozen=True)
class HCATConfig:
    """The network's architecture; the defaults are the paper's HCAT (ResNet-18, N = 2, S = 16).

    The ablations of the paper: `HCATConfig(sparsification=False)` is "+Hierarchical",
    `HCATConfig(sparsification=False, hierarchical=False)` the "Baseline",
    `HCATConfig(sparsification=False, attention='self')` "Baseline-SA".
    """

    backbone: BackboneName = 'resnet18'
    stride: int = 16
    """Backbone stride, 8 or 16; at 8 the backbone ends one stage earlier."""
    channels: int = 256
    """C, the width of all vectors after the projection."""
    heads: int = 8
    """Attention heads."""
    ffn_channels: int = 2048
    """Width of the hidden layer of the feed-forward networks."""
    layers: int = 2
    """N, the number of hierarchical cross-attention layers."""
    sparsification: bool = True
    """FS: reduce the template to `sparse_vectors` vectors (eq. 2)."""
    sparse_vectors: int = 16
    """S, the number of template vectors that FS leaves."""
    hierarchical: bool = True
    """The template branch of a layer sees the *updated* search features (eq. 4)."""
    attention: Literal['cross', 'self'] = 'cross'
    """What the layers do; 'self' leaves the mixing of the branches to the decoder alone."""
    dropout: float = 0.1
    template_size: int = 128
    search_size: int = 256
    box_anchor: bool = False
    """Beyond the paper: boxes are regressed relative to their cell."""
    correlation: bool = False
    """Beyond the paper: add the search-to-template cosine similarities to the search vectors."""

    def __post_init__(self) -> None:
        if self.backbone not in ('resnet18', 'efficientnet_lite0'):
            raise ValueError(f"backbone '{self.backbone}': expected resnet18 or efficientnet_lite0")
        if self.stride not in (8, 16) or not isinstance(self.stride, int):
            raise ValueError(f'stride {self.stride!r}: expected 8 or 16')
        if self.attention not in ('cross', 'self'):
            raise ValueError(f"attention '{self.attention}': expected cross or self")
        counts = ('channels', 'heads', 'ffn_channels', 'layers', 'sparse_vectors')
        sizes = ('template_size', 'search_size')
        # Values come from files too: types are checked as well.
        for name in (*counts, *sizes):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'{name} {value!r}: expected 1 or more, a whole number')
        for name in ('sparsification', 'hierarchical', 'box_anchor', 'correlation'):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f'{name} {getattr(self, name)!r}: expected true or false')
        if self.channels % (2 * self.heads) or self.channels % 4:
            raise ValueError(
                f'channels {self.channels}: expected a multiple of 4 and of 2 x heads '
                f'({self.heads})'
            )
        if not isinstance(self.dropout, (int, float)) or not 0 <= self.dropout < 1:
            raise ValueError(f'dropout {self.dropout!r}: expected 0 <= dropout < 1')
        for name in sizes:
            if getattr(self, name) % 32:
                raise ValueError(f'{name} {getattr(self, name)}: expected a multiple of 32')

    @property
    def template_grid(self) -> int:
        """Hz = Wz, cells along a side of the template's feature map."""
        return self.template_size // self.stride

    @property
    def search_grid(self) -> int:
        """Hx = Wx, cells along a side of the search region's feature map."""
        return self.search_size // self.stride
