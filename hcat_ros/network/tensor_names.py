# SPDX-License-Identifier: Apache-2.0
"""Maps our tensor names to those of the released checkpoints, one to one.

Our modules are named after the paper; weight files keep the names of the released checkpoints.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

_FUSION = 'featurefusion_network'
# Our name (a regular expression) and the reference's; the first match counts.
_RULES = (
    (r'layers\.(\d+)\.template\.attention', rf'{_FUSION}.encoder.layers.\1.multihead_attn1'),
    (r'layers\.(\d+)\.template\.linear', rf'{_FUSION}.encoder.layers.\1.linear1'),
    (r'layers\.(\d+)\.template\.norm1', rf'{_FUSION}.encoder.layers.\1.norm12'),
    (r'layers\.(\d+)\.template\.norm2', rf'{_FUSION}.encoder.layers.\1.norm13'),
    (r'layers\.(\d+)\.search\.attention', rf'{_FUSION}.encoder.layers.\1.multihead_attn2'),
    (r'layers\.(\d+)\.search\.linear', rf'{_FUSION}.encoder.layers.\1.linear2'),
    (r'layers\.(\d+)\.search\.norm1', rf'{_FUSION}.encoder.layers.\1.norm22'),
    (r'layers\.(\d+)\.search\.norm2', rf'{_FUSION}.encoder.layers.\1.norm23'),
    (r'layers\.(\d+)\.template_context\.attention', rf'{_FUSION}.encoder.layers.\1.self_attn1'),
    (r'layers\.(\d+)\.template_context\.norm', rf'{_FUSION}.encoder.layers.\1.norm11'),
    (r'layers\.(\d+)\.search_context\.attention', rf'{_FUSION}.encoder.layers.\1.self_attn2'),
    (r'layers\.(\d+)\.search_context\.norm', rf'{_FUSION}.encoder.layers.\1.norm21'),
    (r'sparsification\.attention', f'{_FUSION}.encoder.query_layer.multihead_attn'),
    (r'sparsification\.norm', f'{_FUSION}.encoder.query_layer.norm'),
    (r'decoder\.attention', f'{_FUSION}.decoder.layers.0.multihead_attn'),
    (r'decoder\.', f'{_FUSION}.decoder.layers.0.'),
    (r'decoder_norm', f'{_FUSION}.decoder.norm'),
    (r'embedding', 'query_embed.weight'),
    (r'projection', 'input_proj'),
    (r'score_head', 'class_embed'),
    (r'box_head', 'bbox_embed'),
    # ResNet sits in DETR's wrapper; the other backbones do not.
    (r'backbone\.(conv1|bn1|layer\d)', r'backbone.0.body.\1'),
)


def reference_name(name: str) -> str:
    """Return the reference's name of our tensor `name`."""
    for pattern, replacement in _RULES:
        renamed, count = re.subn(f'^{pattern}', replacement, name)
        if count:
            return renamed
    return name


def add_reference_names(model: nn.Module) -> None:
    """Make `model.state_dict` and `load_state_dict` use the reference's names."""
    ours_of = {reference_name(name): name for name in model.state_dict()}

    def rename(state: dict[str, Any], prefix: str, names: dict[str, str]) -> None:
        # Rename in place and in order, because exporters match tensors to parameters by position.
        for name, value in list(state.items()):
            del state[name]
            bare = name.removeprefix(prefix)
            state[prefix + names[bare] if bare in names else name] = value

    def after_state_dict(
        module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any
    ) -> None:
        rename(state, prefix, {ours: reference for reference, ours in ours_of.items()})

    def before_load(module: nn.Module, state: dict[str, Any], prefix: str, *unused: Any) -> None:
        rename(state, prefix, ours_of)

    model.register_state_dict_post_hook(after_state_dict)
    model.register_load_state_dict_pre_hook(before_load)
