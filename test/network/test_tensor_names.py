# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='needs PyTorch')

import torch

from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.network.tensor_names import reference_name

SMALL = {'channels': 32, 'heads': 4, 'ffn_channels': 16}


@pytest.mark.parametrize(
    ('ours', 'reference'),
    [
        (
            'layers.1.search.attention.in_proj_bias',
            'featurefusion_network.encoder.layers.1.multihead_attn2.in_proj_bias',
        ),
        (
            'layers.0.template.attention.out_proj.weight',
            'featurefusion_network.encoder.layers.0.multihead_attn1.out_proj.weight',
        ),
        ('layers.0.search.linear2.bias', 'featurefusion_network.encoder.layers.0.linear22.bias'),
        ('layers.0.template.linear1.bias', 'featurefusion_network.encoder.layers.0.linear11.bias'),
        ('layers.0.search.norm1.weight', 'featurefusion_network.encoder.layers.0.norm22.weight'),
        ('layers.0.template.norm2.weight', 'featurefusion_network.encoder.layers.0.norm13.weight'),
        ('embedding', 'query_embed.weight'),
        ('sparsification.norm.bias', 'featurefusion_network.encoder.query_layer.norm.bias'),
        ('decoder.norm2.bias', 'featurefusion_network.decoder.layers.0.norm2.bias'),
        ('decoder_norm.bias', 'featurefusion_network.decoder.norm.bias'),
        ('backbone.layer3.0.conv1.weight', 'backbone.0.body.layer3.0.conv1.weight'),
        ('backbone.stem.weight', 'backbone.stem.weight'),
        ('correlation.weight', 'correlation.weight'),
    ],
)
def test_reference_name_gives_the_authors_name_of_a_tensor(ours: str, reference: str) -> None:
    assert reference_name(ours) == reference


def test_names_and_shapes_are_those_of_the_released_checkpoints(golden: Path) -> None:
    expected = {}
    for line in (golden / 'state_dict_n2.txt').read_text().splitlines():
        name, size = line.split()
        expected[name] = () if size == 'scalar' else tuple(int(n) for n in size.split('x'))
    assert {name: tuple(value.shape) for name, value in HCAT().state_dict().items()} == expected


def test_names_and_shapes_are_those_of_the_first_lite0_weights(shared: Path) -> None:
    safetensors = pytest.importorskip('safetensors.torch', reason='needs safetensors')
    state = safetensors.load_file(shared / 'warmstart' / 'hcat_lite0_n1.safetensors')
    config = HCATConfig('efficientnet_lite0', 16, 128, 8, 256, 1, correlation=True, box_anchor=True)
    expected = {name: value.shape for name, value in state.items()}
    assert {name: value.shape for name, value in HCAT(config).state_dict().items()} == expected


@pytest.mark.parametrize(
    'fields',
    [{}, {'sparsification': False}, {'backbone': 'efficientnet_lite0', 'correlation': True}],
)
def test_names_are_unique_and_refer_to_the_same_tensors(fields: dict[str, Any]) -> None:
    model = HCAT(HCATConfig(**SMALL, **fields))
    persistent = dict(model.named_parameters()) | dict(model.named_buffers())
    state = model.state_dict()
    named = {reference_name(name): name for name in persistent}
    assert len(named) == len(persistent)
    for name, value in state.items():
        assert value.data_ptr() == persistent[named[name]].data_ptr()


def test_a_saved_state_dict_can_be_loaded_again() -> None:
    torch.manual_seed(0)
    first, second = HCAT(HCATConfig(**SMALL)), HCAT(HCATConfig(**SMALL))
    state = first.state_dict()
    before = list(state)
    assert not second.load_state_dict(state).missing_keys
    assert list(state) == before  # the caller's dict is not renamed
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_names_are_also_converted_inside_another_module() -> None:
    first, second = HCAT(HCATConfig(**SMALL)), HCAT(HCATConfig(**SMALL))
    holder = torch.nn.Sequential(first)
    state = holder.state_dict()
    assert '0.query_embed.weight' in state
    assert not [name for name in state if name.startswith('0.embedding')]
    torch.nn.Sequential(second).load_state_dict(state)
    assert torch.equal(first.embedding, second.embedding)


def test_unknown_and_missing_names_are_refused_by_torch() -> None:
    model = HCAT(HCATConfig(**SMALL))
    state = {**model.state_dict(), 'surplus.weight': torch.zeros(1)}
    with pytest.raises(RuntimeError, match=r'surplus\.weight'):
        model.load_state_dict(state)
    state = model.state_dict()
    del state['query_embed.weight']
    with pytest.raises(RuntimeError, match='embedding'):
        model.load_state_dict(state)
