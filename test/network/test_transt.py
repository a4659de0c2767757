# SPDX-License-Identifier: Apache-2.0
"""TransT and TransT.H, compared with their description in PyTorch's own attention."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs PyTorch')

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from hcat_ros.network import HCAT, HCATConfig, load_checkpoint
from hcat_ros.network.cost import search_multiply_adds
from hcat_ros.network.position import sine_position

State = dict[str, Tensor]
SMALL = {
    'channels': 32,
    'heads': 4,
    'ffn_channels': 48,
    'layers': 2,
    'attention': 'self+cross',
    'sparsification': False,
    'template_size': 64,
    'search_size': 96,
}


def attend(state: State, name: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    layer = nn.MultiheadAttention(32, 4, batch_first=True)
    own = {n: state[f'{name}.{n}'] for n in layer.state_dict()}
    layer.load_state_dict(own)
    return layer.eval()(query, key, value, need_weights=False)[0]


def normed(state: State, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'])


def fed(state: State, first: str, second: str, x: Tensor) -> Tensor:
    hidden = F.relu(F.linear(x, state[f'{first}.weight'], state[f'{first}.bias']))
    return F.linear(hidden, state[f'{second}.weight'], state[f'{second}.bias'])


def described(state: State, fz: Tensor, fx: Tensor, hierarchical: bool) -> Tensor:
    """Fusion network and decoder with the published names: 1 is the template, 2 the search."""
    pz, px = sine_position(4, 4, 32), sine_position(6, 6, 32)
    fusion = 'featurefusion_network'
    for number in range(2):
        layer = f'{fusion}.encoder.layers.{number}'
        own = attend(state, f'{layer}.self_attn1', fz + pz, fz + pz, fz)
        fz = normed(state, f'{layer}.norm11', fz + own)
        own = attend(state, f'{layer}.self_attn2', fx + px, fx + px, fx)
        fx = normed(state, f'{layer}.norm21', fx + own)
        cross = attend(state, f'{layer}.multihead_attn2', fx + px, fz + pz, fz)
        new = normed(state, f'{layer}.norm22', fx + cross)
        new = normed(
            state,
            f'{layer}.norm23',
            new + fed(state, f'{layer}.linear21', f'{layer}.linear22', new),
        )
        seen = new if hierarchical else fx
        cross = attend(state, f'{layer}.multihead_attn1', fz + pz, seen + px, seen)
        fz = normed(state, f'{layer}.norm12', fz + cross)
        fz = normed(
            state, f'{layer}.norm13', fz + fed(state, f'{layer}.linear11', f'{layer}.linear12', fz)
        )
        fx = new
    layer = f'{fusion}.decoder.layers.0'
    cross = attend(state, f'{layer}.multihead_attn', fx + px, fz + pz, fz)
    fx = normed(state, f'{layer}.norm1', fx + cross)
    fx = normed(
        state, f'{layer}.norm2', fx + fed(state, f'{layer}.linear1', f'{layer}.linear2', fx)
    )
    return normed(state, f'{fusion}.decoder.norm', fx)


def vectors(model: HCAT, image: Tensor) -> Tensor:
    """The encoder's input for an image, (B, n, C)."""
    return model.projection(model.backbone(image)).flatten(2).transpose(1, 2)


@pytest.mark.parametrize('hierarchical', [False, True])
def test_the_fusion_network_matches_its_paper(hierarchical: bool) -> None:
    torch.manual_seed(0)
    model = HCAT(HCATConfig(**SMALL, hierarchical=hierarchical)).eval()
    for parameter in model.parameters():  # LayerNorms and biases too
        nn.init.normal_(parameter, std=0.2)
    z, x = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 96, 96)
    decoded: list[Tensor] = []
    model.decoder_norm.register_forward_hook(lambda *args: decoded.append(args[-1]))
    with torch.inference_mode():
        model(x, z)
        fz, fx = (vectors(model, image) for image in (z, x))
        expected = described(model.state_dict(), fz, fx, hierarchical)
    assert_close(decoded[0], expected, atol=1e-4, rtol=1e-4)
    with torch.inference_mode():
        other = described(model.state_dict(), fz, fx, not hierarchical)
    assert (expected - other).abs().max() > 0.01, 'the test tells the two apart'


def test_transt_has_the_size_of_its_paper_and_the_names_of_its_checkpoints() -> None:
    model = HCAT(HCATConfig.transt())
    assert sum(value.numel() for value in model.parameters()) / 1e6 == pytest.approx(23.0, abs=0.05)
    assert (model.config.template_grid, model.config.search_grid) == (16, 32)
    state = model.state_dict()
    encoder = {re.sub(r'layers\.\d', 'layers.N', name) for name in state if '.encoder.' in name}
    parts = {
        name.split('layers.N.')[1].rsplit('.', 1)[0].removesuffix('.out_proj') for name in encoder
    }
    attentions = {
        f'{kind}{branch}' for kind in ('self_attn', 'multihead_attn') for branch in (1, 2)
    }
    numbered = {f'linear{b}{n}' for b in (1, 2) for n in (1, 2)}
    numbered |= {f'norm{b}{n}' for b in (1, 2) for n in (1, 2, 3)}
    assert parts == attentions | numbered
    assert state['backbone.0.body.layer3.5.conv3.weight'].shape == (1024, 256, 1, 1)
    assert state['input_proj.weight'].shape == (256, 1024, 1, 1)
    assert state['bbox_embed.layers.2.weight'].shape == (4, 256)


def test_a_published_transt_file_is_recognised(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = HCAT(HCATConfig.transt()).eval()
    state = model.state_dict()
    # FrozenBatchNorm has no count; the file holds stages that are not used.
    state = {name: value for name, value in state.items() if 'num_batches_tracked' not in name}
    state['backbone.0.body.layer4.0.conv1.weight'] = torch.zeros(1)
    torch.save({'net': state, 'net_type': 'TransT'}, tmp_path / 'transt.pth')
    assert load_checkpoint(tmp_path / 'transt.pth').config == HCATConfig.transt()
    again = load_checkpoint(tmp_path / 'transt.pth', hierarchical=True)
    assert again.config == HCATConfig.transt(hierarchical=True)
    x = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        assert_close(again.template(x), model.template(x))


def test_hierarchical_and_juxtaposed_cost_the_same() -> None:
    costs = [search_multiply_adds(HCAT(HCATConfig(**SMALL, hierarchical=h))) for h in (False, True)]
    assert costs[0] == costs[1] > 0
