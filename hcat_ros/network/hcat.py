# SPDX-License-Identifier: Apache-2.0
"""HCAT, the hierarchical cross-attention transformer tracker (Chen et al., 2022).

Notation of the paper: Z is the template and X the search region, Fz and Fx are their features, Pz
and Px their position codes. FS is feature sparsification (eq. 2) with S = 16 learned vectors E, CFA
is cross-feature augment (eq. 3), and N = 2 is the number of layers. Shapes: B batch, C channels,
h heads, d = C / h, n and m numbers of vectors. By default there are 64 template vectors Fz, S
sparse template vectors Fzs and 256 search vectors Fx, row-major over the grid.

The defaults of `HCATConfig` are the paper's network. Both models in this package have three
additions: `correlation`, `mixing` and `box_anchor`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcat_ros.network.attention import (
    ContextAugment,
    CrossFeatureAugment,
    FeatureSparsification,
    FewKeysAttention,
    FewQueriesAttention,
    MultiHeadCrossAttention,
)
from hcat_ros.network.backbones import build_backbone, normalise
from hcat_ros.network.config import HCATConfig
from hcat_ros.network.position import anchor_logits, sine_position
from hcat_ros.network.tensor_names import add_reference_names

TemplateFeatures = dict[str, Tensor]
"""Tensors that depend on the template alone, by name; see `HCAT.template`."""


class NetworkOutput(NamedTuple):
    """Predictions for each search vector."""

    logits: Tensor
    """Class logits, (B, n, 2), target first."""
    boxes: Tensor
    """Boxes, (B, n, 4) as (cx, cy, w, h) in 0..1 of the search region."""


def _attends_to_few(config: HCATConfig) -> bool:
    """Return whether search vectors attend to a sparse template in the layers."""
    return config.sparsification and config.attention != 'self'


def attention_to_template(config: HCATConfig) -> type[MultiHeadCrossAttention]:
    """Return the class of the attention of search vectors to template vectors."""
    return FewKeysAttention if _attends_to_few(config) else MultiHeadCrossAttention


class HCALayer(nn.Module):
    """A layer of the feature fusion network: a CFA for each branch.

    With attention 'cross' each branch attends to the other branch (eq. 4), with 'self' to itself.
    With 'self+cross' (TransT) each branch first attends to itself (`ContextAugment`), then to the
    other. The layer only holds the modules; `HCAT` calls them.
    """

    def __init__(self, config: HCATConfig) -> None:
        super().__init__()
        size = (config.channels, config.heads, config.ffn_channels, config.dropout)
        self.search = CrossFeatureAugment(*size, attention_to_template(config))
        few = FewQueriesAttention if _attends_to_few(config) else MultiHeadCrossAttention
        self.template = CrossFeatureAugment(*size, few)
        if config.attention == 'self+cross':
            own = (config.channels, config.heads, config.dropout)
            self.search_context = ContextAugment(*own)
            self.template_context = ContextAugment(*own)


class SpatialMixing(nn.Module):
    """Mixes neighbouring cells: `X + FFN(LayerNorm(DW(X)))`, where DW is a depthwise 5 x 5.

    This block is not in the paper, whose search vectors exchange information only through the
    template. It is ConvNeXt's block (Liu et al., 2022) with ReLU and an FFN of twice the width.
    """

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, 2 * channels)
        self.linear2 = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Mix x (B, n, C), the n = grid x grid cells of the score map."""
        # float32, because in bfloat16 the gradient of these weights takes four times as long on a
        # CPU.
        with torch.autocast(x.device.type, enabled=False):
            cells = x.float().transpose(1, 2).unflatten(2, (self.grid, self.grid))
            neighbours = self.depthwise(cells)
        y = self.norm(neighbours.flatten(2).transpose(1, 2))
        mixed: Tensor = x + self.linear2(F.relu(self.linear1(y)))
        return mixed


class MLP(nn.Module):
    """Three-layer perceptron of a head, with ReLU between the layers."""

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__()
        widths = (channels, channels, channels, channels_out)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        y: Tensor = last(F.relu(second(F.relu(first(x)))))
        return y


class HCAT(nn.Module):
    """The network. `forward` is `search(x, template(z))`; a tracker calls the two methods itself.

    `state_dict` and `load_state_dict` use the tensor names of the released checkpoints.
    """

    def __init__(self, config: HCATConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or HCATConfig()
        c = config.channels
        self.backbone = build_backbone(config)
        self.projection = nn.Conv2d(self.backbone.channels, c, 1)
        if config.correlation:
            self.correlation = nn.Linear(config.template_grid**2, c)
        if config.sparsification:
            self.embedding = nn.Parameter(torch.empty(config.sparse_vectors, c))
            self.sparsification = FeatureSparsification(c, config.heads, config.dropout)
        self.layers = nn.ModuleList(HCALayer(config) for _ in range(config.layers))  # type: ignore[assignment]
        size = (c, config.heads, config.ffn_channels, config.dropout)
        self.decoder = CrossFeatureAugment(*size, attention_to_template(config))
        self.decoder_norm = nn.LayerNorm(c)
        self.mixing = nn.Sequential(
            *(SpatialMixing(c, config.search_grid) for _ in range(config.mixing))
        )
        self.score_head = MLP(c, 2)
        self.box_head = MLP(c, 4)
        for name, grid in (('pz', config.template_grid), ('px', config.search_grid)):
            self.register_buffer(name, sine_position(grid, grid, c), persistent=False)
        self.register_buffer('anchor', anchor_logits(config.search_grid), persistent=False)
        self._initialise()
        add_reference_names(self)

    # For the type checker.
    layers: Sequence[HCALayer]
    pz: Tensor
    px: Tensor
    anchor: Tensor

    def _initialise(self) -> None:
        """Initialise everything outside the backbone with Xavier, like the paper."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and not name.startswith('backbone.'):
                nn.init.xavier_uniform_(parameter)

    def normalise(self, image: Tensor) -> Tensor:
        """Convert uint8 RGB crops (B, H, W, 3) to the normalised float input (B, 3, H, W)."""
        return normalise(image, self.backbone)

    def forward(self, search: Tensor, template: Tensor) -> NetworkOutput:
        """Find the template in the search region.

        search: (B, 3, 256, 256), template: (B, 3, 128, 128), both RGB, from `normalise`. Returns
        logits (B, 256, 2) and boxes (B, 256, 4) as (cx, cy, w, h) in 0..1 of the search region.
        """
        return self.search(search, self.template(template))

    def _project(self, image: Tensor) -> Tensor:
        """Apply backbone and projection, (B, 3, H, W) -> (B, H W / stride^2, C)."""
        features: Tensor = self.projection(self.backbone(image))
        return features.flatten(2).transpose(1, 2)

    def template(self, z: Tensor) -> TemplateFeatures:
        """Return everything that depends on the template alone, for `search`.

        z: (B, 3, 128, 128), from `normalise`. The result holds, batch first:

        - the memory of the first search CFA (with attention 'self', of the decoder): `key`
          (B, h, d, m) and `value` (B, h, m, d), or with `FewKeysAttention` `key` (B, C, h S),
          `key_bias` (B, 1, h S) and `value` (B, h S, C);
        - unless attention is 'self': `vectors`, Fzs (B, S, C), and `query` of the first template
          CFA, (B, h, S, d), or (B, C, h S) with `FewQueriesAttention`;
        - if config.correlation: the matrix `correlation` (B, C, C).
        """
        fz = self._project(z)
        features: TemplateFeatures = {}
        if self.config.correlation:
            # x -> Linear(8 cos(x, z_j)) is linear in x / |x|, so a template needs one C x C matrix.
            # The shipped weights were trained with the scale 8.
            similar = 8 * self.correlation.weight @ F.normalize(fz, dim=-1)
            features['correlation'] = similar.transpose(1, 2)
        fzs, pzs = fz, self._template_position()
        if self.config.sparsification:
            fzs = self.sparsification(self.embedding[None], fz, self.pz)
        if self.config.attention == 'self':
            for layer in self.layers:
                branch = layer.template
                fzs = branch(fzs, branch.query(fzs, pzs), branch.memory(fzs, pzs))
            features.update(_named(self.decoder.memory(fzs, pzs)))
            return features
        first = self.layers[0]
        if self.config.attention == 'self+cross':
            fzs = first.template_context(fzs, pzs)
        features['vectors'] = fzs
        features['query'] = first.template.query(fzs, pzs)
        features.update(_named(first.search.memory(fzs, pzs)))
        return features

    def _template_position(self) -> Tensor:
        """Return the positions of the template vectors: E after FS, the sine code without FS."""
        return self.embedding[None] if self.config.sparsification else self.pz

    def search(self, x: Tensor, features: TemplateFeatures) -> NetworkOutput:
        """Find in x (B, 3, 256, 256), from `normalise`, the template with these `features`."""
        return self.match(self.search_features(x), features)

    def search_features(self, x: Tensor) -> Tensor:
        """Return Fx (B, n, C) of x (B, 3, 256, 256), which does not depend on the template."""
        return self._project(x)

    def match(self, fx: Tensor, features: TemplateFeatures) -> NetworkOutput:
        """Find the template with these `features`, given Fx (B, n, C) from `search_features`."""
        if self.config.correlation:
            unit = F.normalize(fx, dim=-1)
            fx = fx + unit @ features['correlation'] + self.correlation.bias
        fuse = self._fuse_self if self.config.attention == 'self' else self._fuse_cross
        fx, memory = fuse(fx, features)
        # The decoder is one more CFA.
        f = self.decoder_norm(self.decoder(fx, self.decoder.query(fx, self.px), memory))
        f = self.mixing(f)
        boxes = self.box_head(f)
        if self.config.box_anchor:
            boxes = boxes + self.anchor
        return NetworkOutput(self.score_head(f), boxes.sigmoid())

    def _fuse_cross(
        self, fx: Tensor, features: TemplateFeatures
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Apply the cross-attention layers; return Fx and the decoder's memory of Fzs.

        Hierarchical (eq. 4): Fx' = CFA(Fx, Fzs), then Fzs' = CFA(Fzs, Fx'). Juxtaposed: the
        template branch sees Fx from before the update. With attention 'self+cross' each branch
        first attends to itself; `template` has done so for the template branch of the first layer.
        """
        px, pzs, fzs = self.px, self._template_position(), features['vectors']
        query, memory = features['query'], _memory(features)
        augment = self.config.attention == 'self+cross'
        for i, layer in enumerate(self.layers):
            if augment:
                fx = layer.search_context(fx, px)
            if i > 0:
                if augment:
                    fzs = layer.template_context(fzs, pzs)
                query = layer.template.query(fzs, pzs)
                memory = layer.search.memory(fzs, pzs)
            updated = layer.search(fx, layer.search.query(fx, px), memory)
            seen = updated if self.config.hierarchical else fx
            fzs = layer.template(fzs, query, layer.template.memory(seen, px))
            fx = updated
        return fx, self.decoder.memory(fzs, pzs)

    def _fuse_self(
        self, fx: Tensor, features: TemplateFeatures
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Apply the self-attention layers; return Fx and the decoder's memory.

        The branches meet only in the decoder.
        """
        for layer in self.layers:
            branch = layer.search
            fx = branch(fx, branch.query(fx, self.px), branch.memory(fx, self.px))
        return fx, _memory(features)


_MEMORY = ('key', 'key_bias', 'value')


def _named(memory: tuple[Tensor, ...]) -> TemplateFeatures:
    """Return an attention's memory by name: `FewKeysAttention` has all of `_MEMORY`, others two."""
    return dict(zip(_MEMORY if len(memory) == 3 else _MEMORY[::2], memory))


def _memory(features: TemplateFeatures) -> tuple[Tensor, ...]:
    return tuple(features[name] for name in _MEMORY if name in features)


def without_backbone(model: HCAT) -> HCAT:
    """Return a network whose inputs are backbone features instead of images.

    It shares all weights with `model`.
    """
    fusion = copy.copy(model)
    # nn.Module has no public way to share all modules except one.
    fusion._modules = {**model._modules, 'backbone': nn.Identity()}  # noqa: SLF001
    return fusion
