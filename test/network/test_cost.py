# SPDX-License-Identifier: Apache-2.0
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.network.cost import (
    parameters,
    reference_multiply_adds,
    search_multiply_adds,
    whole_multiply_adds,
)

N, C, F, HEADS = 2, 256, 2048, 8
CELLS, VECTORS, SPARSE = 256, 64, 16
"""Number of search vectors, template vectors, and vectors after feature sparsification (FS)."""
RESNET = (
    128**2 * 64 * 3 * 49
    + 64**2 * 4 * 64 * 64 * 9
    + 32**2 * 128 * (64 * 9 + 3 * 128 * 9 + 64)
    + 16**2 * 256 * (128 * 9 + 3 * 256 * 9 + 128)
)
"""Convolutions of ResNet-18 up to stride 16, for 256 px."""
MEMORY = 4 * SPARSE * C * C + SPARSE * C
"""Keys and values of FS's vectors, with the projections of queries and output folded in."""
QUERY = 2 * SPARSE * C * C
"""Queries of FS's vectors, with the projection of the keys folded in."""
ATTENTION = 2 * CELLS * C * HEADS * SPARSE
"""Attention between cells and FS's vectors, in either direction."""


def test_multiply_adds_of_the_papers_network() -> None:
    model = HCAT().eval()
    ours, theirs = search_multiply_adds(model), reference_multiply_adds(model)
    search = ATTENTION + 2 * CELLS * C * F
    template = ATTENTION + 2 * SPARSE * C * C + 2 * SPARSE * C * F
    # The first layer's memory and query are precomputed; the decoder needs its own memory.
    layers = N * (search + template) + (N - 1) * (MEMORY + QUERY)
    heads = CELLS * (4 * C * C + 6 * C)
    assert ours == RESNET + CELLS * C * C + layers + MEMORY + search + heads
    projection = VECTORS * C * C
    sparsification = 2 * (VECTORS + SPARSE) * C * C + 2 * VECTORS * SPARSE * C
    assert theirs - ours == projection + sparsification + MEMORY + QUERY


def test_a_smaller_network_costs_less() -> None:
    costs = [
        search_multiply_adds(
            HCAT(HCATConfig(backbone='efficientnet_lite0', ffn_channels=width)).eval()
        )
        for width in (2048, 512)
    ]
    # The feed-forward networks of the layers' branches and of the decoder.
    assert costs[0] - costs[1] == 2 * C * (2048 - 512) * ((N + 1) * CELLS + N * SPARSE)
    assert costs[0] < search_multiply_adds(HCAT().eval())


def test_the_total_covers_the_template_and_is_equal_on_the_meta_device() -> None:
    model = HCAT(HCATConfig(layers=1)).eval()
    with torch.device('meta'):
        described = HCAT(HCATConfig(layers=1)).eval()
    for count in (whole_multiply_adds, search_multiply_adds, reference_multiply_adds, parameters):
        assert count(described) == count(model)
    # The total exceeds the authors' cost per frame by the backbone on the template.
    backbone = whole_multiply_adds(model) - reference_multiply_adds(model)
    assert backbone == pytest.approx(1.83e9 / 4, rel=0.01)
    assert parameters(model) == sum(p.numel() for p in model.state_dict().values()) - sum(
        b.numel() for name, b in model.state_dict().items() if 'running' in name or 'num_' in name
    )
