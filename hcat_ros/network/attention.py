# SPDX-License-Identifier: Apache-2.0
"""Multi-head cross-attention and the blocks built from it: FS (eq. 2) and CFA (eq. 3).

Shapes: B batch, n and m numbers of vectors, S number of sparse vectors, C channels, h heads,
d = C / h.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiHeadCrossAttention(nn.Module):
    """MHCA (eq. 1): softmax(Q K^T / sqrt(d)) V in each of h heads, then a linear map.

    `query` and `memory` prepare the inputs of `forward`, so that constant inputs (the template's
    during tracking) are prepared only once. Each subclass has its own layout for them.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        # Plain numbers instead of tensor shapes, so that exported graphs are static.
        self.channels, self.heads, self.head_channels = channels, heads, channels // heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)

    def _project(self, x: Tensor, which: int) -> Tensor:
        """Project with the query (0), key (1) or value (2) weights, (B, n, C) -> (B, h, n, d)."""
        rows = slice(which * self.channels, (which + 1) * self.channels)
        y = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return y.unflatten(-1, (self.heads, self.head_channels)).transpose(1, 2)

    def query(self, x: Tensor) -> Tensor:
        """Project queries and scale them by 1 / sqrt(d), (B, n, C) -> (B, h, n, d)."""
        return self._project(x, 0) * (1.0 / math.sqrt(self.head_channels))

    def memory(self, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Project keys and values, each (B, m, C), to (B, h, d, m) and (B, h, m, d)."""
        return self._project(key, 1).transpose(-2, -1), self._project(value, 2)

    def forward(self, query: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        """Attend with projected queries to a projected memory; return (B, n, C)."""
        key, value = memory
        weights = (query @ key).softmax(dim=-1)
        weights = F.dropout(weights, self.dropout, self.training)
        merged: Tensor = self.out_proj((weights @ value).transpose(1, 2).flatten(2))
        return merged

    def _weights_of_heads(self, which: int) -> Tensor:
        """Return the query (0), key (1) or value (2) weights of each head, (h, d, C)."""
        rows = slice(which * self.channels, (which + 1) * self.channels)
        return self.in_proj_weight[rows].unflatten(0, (self.heads, self.head_channels))


class FewKeysAttention(MultiHeadCrossAttention):
    """`MultiHeadCrossAttention` rewritten to need fewer operations for a memory of few vectors, S.

    It computes the same function. The query and output projections are applied to the memory:
    (x Wq + bq) K^T = x (Wq K^T) + bq K^T, and likewise softmax(...) (V Wo). The n queries are then
    multiplied by matrices of C x h S and h S x C instead of two of C x C, which is cheaper while
    h S < C, and the heads need no transposition.
    """

    def query(self, x: Tensor) -> Tensor:
        """Return the queries (B, n, C) unchanged."""
        return x

    def memory(self, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Return the memory (B, S, C) as matrices (B, C, h S), (B, 1, h S) and (B, h S, C)."""
        k, v = self._project(key, 1) / math.sqrt(self.head_channels), self._project(value, 2)
        bias = self.in_proj_bias[: self.channels].view(self.heads, self.head_channels, 1)
        out = self.out_proj.weight.t().unflatten(0, (self.heads, self.head_channels))
        keys = (k @ self._weights_of_heads(0)).flatten(1, 2).transpose(1, 2)
        return keys, (k @ bias).flatten(1, 2).transpose(1, 2), (v @ out).flatten(1, 2)

    def forward(self, query: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        """Attend with queries (B, n, C) to a prepared memory; return (B, n, C)."""
        key, bias, value = memory
        weights = (query @ key + bias).unflatten(-1, (self.heads, -1)).softmax(dim=-1)
        weights = F.dropout(weights, self.dropout, self.training)
        return weights.flatten(2) @ value + self.out_proj.bias


class FewQueriesAttention(MultiHeadCrossAttention):
    """`MultiHeadCrossAttention` rewritten to need fewer operations for few queries, S.

    It computes the same function. The key projection is applied to the queries, and the values are
    projected after they are gathered. The key bias adds the same number to all scores of a query,
    so softmax cancels it.
    """

    def query(self, x: Tensor) -> Tensor:
        """Return the queries (B, S, C) as a matrix (B, C, h S) for unprojected keys."""
        projected = super().query(x) @ self._weights_of_heads(1)
        return projected.flatten(1, 2).transpose(1, 2)

    def memory(self, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Return keys and values, each (B, m, C), unchanged."""
        return key, value

    def forward(self, query: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        """Attend with prepared queries to a memory; return (B, S, C)."""
        key, value = memory
        weights = (key @ query).softmax(dim=1)
        weights = F.dropout(weights, self.dropout, self.training)
        gathered = (weights.transpose(1, 2) @ value).unflatten(1, (self.heads, -1))
        bias = self.in_proj_bias[2 * self.channels :].view(self.heads, 1, self.head_channels)
        values = gathered @ self._weights_of_heads(2).transpose(1, 2) + bias
        merged: Tensor = self.out_proj(values.transpose(1, 2).flatten(2))
        return merged


class CrossFeatureAugment(nn.Module):
    """Cross-feature augment (CFA, eq. 3), with the LayerNorms of the released checkpoints.

    `Y = LayerNorm(Q + MHCA(Q + Pq, M + Pm, M))`, `CFA = LayerNorm(Y + FFN(Y))`
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        ffn_channels: int,
        dropout: float,
        attention: type[MultiHeadCrossAttention] = MultiHeadCrossAttention,
    ) -> None:
        super().__init__()
        self.attention = attention(channels, heads, dropout)
        self.linear1 = nn.Linear(channels, ffn_channels)
        self.linear2 = nn.Linear(ffn_channels, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def query(self, x: Tensor, position: Tensor) -> Tensor:
        """Prepare the query vectors x (B, n, C) and their positions, in the attention's layout."""
        return self.attention.query(x + position)

    def memory(self, m: Tensor, position: Tensor) -> tuple[Tensor, ...]:
        """Prepare the memory vectors m (B, m, C); positions are added to keys, not to values."""
        return self.attention.memory(m + position, m)

    def forward(self, x: Tensor, query: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        """Augment x (B, n, C), from which `query` was prepared, with a prepared `memory`."""
        y = self.norm1(x + self.dropout(self.attention(query, memory)))
        ffn = self.linear2(self.dropout(F.relu(self.linear1(y))))
        augmented: Tensor = self.norm2(y + self.dropout(ffn))
        return augmented


class ContextAugment(nn.Module):
    """Self-attention of a branch, `LayerNorm(X + MHA(X + P, X + P, X))`, without an FFN.

    This is the ego-context augment of TransT (Chen et al., 2021, eq. 4).
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadCrossAttention(channels, heads, dropout)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """Augment x (B, n, C) at `position` (1, n, C)."""
        placed = x + position
        a = self.attention(self.attention.query(placed), self.attention.memory(placed, x))
        augmented: Tensor = self.norm(x + self.dropout(a))
        return augmented


class FeatureSparsification(nn.Module):
    """Feature sparsification (FS): S learned vectors E gather the template into S vectors.

    The paper's eq. 2 is `Fzs = E + A` with `A = MHCA(E, Fz + Pz, Fz)`; the released
    checkpoints compute `LayerNorm(A + dropout(A))`, and so does this module.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadCrossAttention(channels, heads, dropout)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, embedding: Tensor, fz: Tensor, position: Tensor) -> Tensor:
        """Return the sparse template (B, S, C) of Fz (B, m, C); `embedding` is E (1, S, C)."""
        query = self.attention.query(embedding)
        a = self.attention(query, self.attention.memory(fz + position, fz))
        sparse: Tensor = self.norm(a + self.dropout(a))
        return sparse
