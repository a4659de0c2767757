# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('torch', reason='needs PyTorch')

from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.network.cost import reference_multiply_adds, search_multiply_adds


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
