# SPDX-License-Identifier: Apache-2.0
"""What a frame costs: multiply-adds of the search path, counted on the network."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hcat_ros.network.hcat import HCAT
from hcat_ros.network.reference_graph import ReferenceSearch


def search_multiply_adds(model: HCAT) -> int:
    """Return the multiply-adds of `HCAT.search`, the template's features being there.

    Those of convolutions and matrix products; the rest (activations, LayerNorm, softmax) is
    a few thousandths.
    """
    size, search = model.config.template_size, model.config.search_size
    with torch.no_grad():
        features = model.template(torch.zeros(1, 3, size, size))
    return _multiply_adds(model.search, torch.zeros(1, 3, search, search), features)


def reference_multiply_adds(model: HCAT) -> int:
    """Return the multiply-adds of the authors' form of the search graph."""
    grid, search = model.config.template_grid, model.config.search_size
    features = torch.zeros(1, model.backbone.channels, grid, grid)
    return _multiply_adds(ReferenceSearch(model), torch.zeros(1, 3, search, search), features)


def _multiply_adds(function: Any, *inputs: Any) -> int:
    # With gradients: the counter follows modules by hooks on them, and fails where E has none.
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        function(*inputs)
    return int(counter.get_total_flops()) // 2
