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


def test_multiply_adds_of_the_papers_network() -> None:
    model = HCAT().eval()
    ours, theirs = search_multiply_adds(model), reference_multiply_adds(model)
    # Backbone 1.83 G, two layers 0.36 each, decoder 0.31, heads 0.07 and little else.
    assert ours == pytest.approx(2.94e9, rel=0.01)
    c, vectors, sparse, heads = 256, 64, 16, 2
    projection = vectors * c * c
    sparsification = 2 * (vectors + sparse) * c * c + heads * vectors * sparse * c
    first = 3 * sparse * c * c  # the first layer's query, key and value of the template
    assert theirs - ours == projection + sparsification + first


def test_a_smaller_network_costs_less() -> None:
    lite = HCAT(HCATConfig(backbone='efficientnet_lite0', ffn_channels=512))
    assert search_multiply_adds(lite.eval()) == pytest.approx(0.79e9, rel=0.03)


def test_the_whole_is_template_and_search_and_meta_counts_alike() -> None:
    model = HCAT(HCATConfig(layers=1)).eval()
    with torch.device('meta'):
        described = HCAT(HCATConfig(layers=1)).eval()
    for count in (whole_multiply_adds, search_multiply_adds, reference_multiply_adds, parameters):
        assert count(described) == count(model)
    # What is computed once a template is its backbone more than what the authors repeat.
    backbone = whole_multiply_adds(model) - reference_multiply_adds(model)
    assert backbone == pytest.approx(1.83e9 / 4, rel=0.01)
    assert parameters(model) == sum(p.numel() for p in model.state_dict().values()) - sum(
        b.numel() for name, b in model.state_dict().items() if 'running' in name or 'num_' in name
    )
