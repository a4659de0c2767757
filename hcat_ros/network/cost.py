# SPDX-License-Identifier: Apache-2.0
"""Counts the multiply-adds and parameters of a network.

For a network on the meta device nothing is computed, so counting is fast.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hcat_ros.network.hcat import HCAT
from hcat_ros.network.reference_graph import ReferenceSearch


def search_multiply_adds(model: HCAT) -> int:
    """Return the multiply-adds of `HCAT.search`, without those of the template's features.

    Only convolutions and matrix products count; the other operations (activations, LayerNorm,
    softmax) add a few thousandths.
    """
    config, device = model.config, model.px.device
    with torch.no_grad():
        features = model.template(_image(config.template_size, device))
    return _multiply_adds(model.search, _image(config.search_size, device), features)


def reference_multiply_adds(model: HCAT) -> int:
    """Return the multiply-adds of the authors' form of the search graph."""
    grid, device = model.config.template_grid, model.px.device
    features = torch.zeros(1, model.backbone.channels, grid, grid, device=device)
    return _multiply_adds(
        ReferenceSearch(model), _image(model.config.search_size, device), features
    )


def whole_multiply_adds(model: HCAT) -> int:
    """Return the multiply-adds of `HCAT.forward`: template and search, as in training."""
    config, device = model.config, model.px.device
    images = _image(config.search_size, device), _image(config.template_size, device)
    return _multiply_adds(model, *images)


def parameters(model: HCAT) -> int:
    """Return the number of parameters, without the statistics of BatchNorms."""
    return sum(parameter.numel() for parameter in model.parameters())


def _image(size: int, device: torch.device) -> Tensor:
    return torch.zeros(1, 3, size, size, device=device)


def _multiply_adds(function: Any, *inputs: Any) -> int:
    # With gradients, because the counter's module hooks fail if E needs no gradient.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops()) // 2
