# SPDX-License-Identifier: Apache-2.0
"""The attention blocks, compared with PyTorch's own attention of the same weights."""

from __future__ import annotations

import pytest

pytest.importorskip('torch', reason='needs PyTorch')

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from hcat_ros.network.attention import (
    CrossFeatureAugment,
    FeatureSparsification,
    FewKeysAttention,
    FewQueriesAttention,
    MultiHeadCrossAttention,
)

B, N, M, C, HEADS, HIDDEN = 2, 7, 11, 32, 4, 48


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def randomised(module: nn.Module) -> nn.Module:
    """Randomise every parameter, biases and norms too, and switch to evaluation mode."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def torch_attention(ours: MultiHeadCrossAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(C, HEADS, batch_first=True)
    theirs.load_state_dict(ours.state_dict())  # the same names and packing
    return theirs.eval()


@pytest.mark.parametrize('form', [MultiHeadCrossAttention, FewKeysAttention, FewQueriesAttention])
def test_mhca_matches_torchs_multihead_attention(form: type[MultiHeadCrossAttention]) -> None:
    ours = randomised(form(C, HEADS, 0.1))
    query, key, value = torch.randn(B, N, C), torch.randn(B, M, C), torch.randn(B, M, C)
    found = ours(ours.query(query), ours.memory(key, value))
    expected, _ = torch_attention(ours)(query, key, value)
    assert found.shape == (B, N, C)
    assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_projections_have_the_documented_shapes() -> None:
    ours = randomised(MultiHeadCrossAttention(C, HEADS, 0.1))
    key, value = ours.memory(torch.randn(B, M, C), torch.randn(B, M, C))
    assert ours.query(torch.randn(B, N, C)).shape == (B, HEADS, N, C // HEADS)
    assert key.shape == (B, HEADS, C // HEADS, M)
    assert value.shape == (B, HEADS, M, C // HEADS)


def test_few_keys_attention_precomputes_matrices_from_the_memory() -> None:
    ours = randomised(FewKeysAttention(C, HEADS, 0.1))
    x = torch.randn(B, N, C)
    assert ours.query(x) is x
    key, bias, value = ours.memory(torch.randn(B, M, C), torch.randn(B, M, C))
    assert key.shape == (B, C, HEADS * M)
    assert bias.shape == (B, 1, HEADS * M)
    assert value.shape == (B, HEADS * M, C)


def test_few_queries_attention_precomputes_a_matrix_from_the_queries() -> None:
    ours = randomised(FewQueriesAttention(C, HEADS, 0.1))
    memory = torch.randn(B, M, C), torch.randn(B, M, C)
    assert all(a is b for a, b in zip(ours.memory(*memory), memory, strict=True))
    assert ours.query(torch.randn(B, N, C)).shape == (B, C, HEADS * N)


@pytest.mark.parametrize('form', [FewKeysAttention, FewQueriesAttention])
def test_all_attention_forms_have_the_same_gradients(form: type[MultiHeadCrossAttention]) -> None:
    """A checkpoint of one form can therefore be trained further with another."""
    ours = randomised(form(C, HEADS, 0.0)).train()
    plain = MultiHeadCrossAttention(C, HEADS, 0.0)
    plain.load_state_dict(ours.state_dict())
    tensors, goal = [torch.randn(B, n, C) for n in (N, M, M)], torch.randn(B, N, C)
    for attention in (ours, plain):
        found = attention(attention.query(tensors[0]), attention.memory(*tensors[1:]))
        (found * goal).sum().backward()
    for name, parameter in ours.named_parameters():
        expected = plain.get_parameter(name).grad
        assert_close(parameter.grad, expected, atol=1e-4, rtol=1e-4)
        assert expected is not None
        assert expected.abs().sum() > 0


def norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    """LayerNorm by its definition, eps 1e-5."""
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * layer.weight + layer.bias
    )


def test_cfa_matches_equation_3_with_layer_norms() -> None:
    cfa = randomised(CrossFeatureAugment(C, HEADS, HIDDEN, 0.1))
    q, pq, m, pm = (torch.randn(B, n, C) for n in (N, N, M, M))
    attended, _ = torch_attention(cfa.attention)(q + pq, m + pm, m)
    y = norm(q + attended, cfa.norm1)
    hidden = (y @ cfa.linear1.weight.T + cfa.linear1.bias).clamp(min=0)
    expected = norm(y + hidden @ cfa.linear2.weight.T + cfa.linear2.bias, cfa.norm2)
    assert cfa.linear1.out_features == HIDDEN
    assert_close(cfa(q, cfa.query(q, pq), cfa.memory(m, pm)), expected, atol=1e-5, rtol=1e-5)


def test_fs_is_the_layer_norm_of_twice_the_attention() -> None:
    fs = randomised(FeatureSparsification(C, HEADS, 0.1))
    embedding, fz, pz = torch.randn(1, N, C), torch.randn(B, M, C), torch.randn(1, M, C)
    attended, _ = torch_attention(fs.attention)(embedding.expand(B, N, C), fz + pz, fz)
    found = fs(embedding, fz, pz)
    assert found.shape == (B, N, C)
    assert_close(found, norm(2 * attended, fs.norm), atol=1e-5, rtol=1e-5)


def test_positions_change_keys_but_not_values() -> None:
    cfa = randomised(CrossFeatureAugment(C, HEADS, HIDDEN, 0.1))
    m, pm = torch.randn(B, M, C), torch.randn(B, M, C)
    key, value = cfa.memory(m, pm)
    plain_key, plain_value = cfa.memory(m, torch.zeros(B, M, C))
    assert not torch.equal(key, plain_key)
    assert torch.equal(value, plain_value)


@pytest.mark.parametrize('form', [FewKeysAttention, FewQueriesAttention])
def test_sparse_forms_apply_dropout_to_attention_weights(
    form: type[MultiHeadCrossAttention],
) -> None:
    attention = randomised(form(C, HEADS, 0.5)).train()
    q, m = torch.randn(B, N, C), torch.randn(B, M, C)
    outputs = [attention(attention.query(q), attention.memory(m, m)) for _ in range(2)]
    assert not torch.equal(*outputs)


@pytest.mark.parametrize('rate', [0.5, 0.0])
def test_dropout_acts_in_training_only(rate: float) -> None:
    q, p = torch.randn(B, N, C), torch.zeros(1, N, C)
    cfa = randomised(CrossFeatureAugment(C, HEADS, HIDDEN, rate))
    fs = randomised(FeatureSparsification(C, HEADS, rate))
    for training in (True, False):
        cfa.train(training)
        fs.train(training)
        varies = training and rate > 0
        outputs = [cfa(q, cfa.query(q, p), cfa.memory(q, p)) for _ in range(2)]
        assert torch.equal(*outputs) is not varies
        assert torch.equal(fs(q[:1], q, p), fs(q[:1], q, p)) is not varies


def test_gradients_reach_every_parameter() -> None:
    cfa = randomised(CrossFeatureAugment(C, HEADS, HIDDEN, 0.1)).train()
    q, p = torch.randn(B, N, C), torch.zeros(1, N, C)
    (F.softplus(cfa(q, cfa.query(q, p), cfa.memory(q, p))) * torch.randn(B, N, C)).sum().backward()
    assert all(parameter.grad is not None for parameter in cfa.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in cfa.parameters())
