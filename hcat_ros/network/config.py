# SPDX-License-Identifier: Apache-2.0
"""The configuration of an HCAT network."""

from __future__ import annotations

from dataclasses import dataclass

BACKBONES = (
    'resnet18',
    'resnet50',
    'efficientnet_lite0',
    'mobilenetv3_nanotrack_v2',
    'mobilenetv3_nanotrack_v3',
    'mobilenetv2_lightfc',
    'convnext_tiny',
    'mobilenetv2',
)
TIMM_PREFIX = 'timm/'
ATTENTIONS = ('cross', 'self', 'self+cross')


LARGEST_SIDE = 4096
"""Largest side of a crop, pixels, as in a model card."""
LARGEST_COUNTS = {
    'channels': 4096,
    'heads': 4096,
    'ffn_channels': 16384,
    'layers': 64,
    'sparse_vectors': 4096,
}
"""Largest accepted values, so that a malformed file cannot exhaust the memory."""
MOST_MIXING = 64
"""Largest number of `SpatialMixing` blocks."""


@dataclass(frozen=True)
class HCATConfig:
    """The network's architecture; the defaults are the paper's HCAT (ResNet-18, N = 2, S = 16).

    The ablations of the paper: `HCATConfig(sparsification=False)` is "+Hierarchical",
    `HCATConfig(sparsification=False, hierarchical=False)` the "Baseline",
    `HCATConfig(sparsification=False, attention='self')` "Baseline-SA"; `HCATConfig.transt()` is
    TransT and, hierarchical, TransT.H.
    """

    backbone: str = 'resnet18'
    """Backbone: one of `BACKBONES`, or 'timm/NAME' for any feature extractor of timm."""
    stride: int = 16
    """Backbone stride, 8 or 16; at 8 the backbone ends one stage earlier."""
    channels: int = 256
    """C, the width of all vectors after the projection."""
    heads: int = 8
    """Number of attention heads."""
    ffn_channels: int = 2048
    """Width of the hidden layer of the feed-forward networks."""
    layers: int = 2
    """N, the number of hierarchical cross-attention layers."""
    sparsification: bool = True
    """Whether FS reduces the template to `sparse_vectors` vectors (eq. 2)."""
    sparse_vectors: int = 16
    """S, the number of template vectors after FS."""
    hierarchical: bool = True
    """Whether a layer's template branch sees the *updated* search features (eq. 4)."""
    attention: str = 'cross'
    """Kind of attention in the layers: 'cross'; 'self', where the branches meet only in the
    decoder; or 'self+cross', where each branch first attends to itself (TransT)."""
    dropout: float = 0.1
    template_size: int = 128
    search_size: int = 256
    box_anchor: bool = False
    """Whether each cell predicts its box relative to its own position; not in the paper."""
    correlation: bool = False
    """Whether a linear map of the cosine similarities between search and template vectors is added
    to the search vectors; not in the paper."""
    mixing: int = 0
    """Number of `SpatialMixing` blocks between the decoder and the heads; not in the paper."""
    dilation: bool = False
    """Whether ResNet-50 at stride 8 keeps layer3, dilated instead of strided (TransT)."""

    def __post_init__(self) -> None:
        # Values may come from files, so types are checked as well.
        if self.backbone not in BACKBONES and not (
            isinstance(self.backbone, str) and self.backbone.startswith(TIMM_PREFIX)
        ):
            raise ValueError(
                f"backbone '{self.backbone}': expected {', '.join(BACKBONES)} or {TIMM_PREFIX}NAME"
            )
        if self.stride not in (8, 16) or not isinstance(self.stride, int):
            raise ValueError(f'stride {self.stride!r}: expected 8 or 16')
        if self.attention not in ATTENTIONS:
            raise ValueError(f"attention '{self.attention}': expected {', '.join(ATTENTIONS)}")
        sizes = ('template_size', 'search_size')
        for name, most in {**LARGEST_COUNTS, **dict.fromkeys(sizes, LARGEST_SIDE)}.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f'{name} {value!r}: expected a whole number from 1 to {most}')
        switches = ('dilation', 'sparsification', 'hierarchical', 'box_anchor', 'correlation')
        for name in switches:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f'{name} {getattr(self, name)!r}: expected true or false')
        if not isinstance(self.mixing, int) or not 0 <= self.mixing <= MOST_MIXING:
            raise ValueError(
                f'mixing {self.mixing!r}: expected a whole number from 0 to {MOST_MIXING}'
            )
        if self.dilation and (self.backbone, self.stride) != ('resnet50', 8):
            raise ValueError(
                f'dilation: expected resnet50 at stride 8, got {self.backbone} at stride '
                f'{self.stride}'
            )
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

    @classmethod
    def transt(cls, hierarchical: bool = False) -> HCATConfig:
        """Return TransT (Chen et al., 2021) or, if hierarchical, the TransT.H of table 7."""
        return cls(
            backbone='resnet50',
            stride=8,
            dilation=True,
            layers=4,
            attention='self+cross',
            sparsification=False,
            hierarchical=hierarchical,
        )

    @property
    def template_grid(self) -> int:
        """Hz = Wz, cells along a side of the template's feature map."""
        return self.template_size // self.stride

    @property
    def search_grid(self) -> int:
        """Hx = Wx, cells along a side of the search region's feature map."""
        return self.search_size // self.stride
