# SPDX-License-Identifier: Apache-2.0
"""Chooses which template is searched for in which search region."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Pairs(NamedTuple):
    """P pairs of indices into the templates and the search regions of a batch."""

    template: Tensor
    search: Tensor
    present: Tensor
    """Whether template and search region are of the same object, (P,) bool."""


def pairs_of_groups(
    groups: int, views: int, count: int, negatives: float, rng: np.random.Generator
) -> Pairs:
    """Return `count` random pairs (0: all) of views of the same object.

    groups: number G of groups. views: number V of views of a group. The two views of a pair differ
    unless V is 1. negatives: share of the pairs whose template is replaced by another object's.
    """
    group, first, second = np.meshgrid(
        np.arange(groups), np.arange(views), np.arange(views), indexing='ij'
    )
    keep = (first != second) | (views == 1)
    group, first, second = group[keep], first[keep], second[keep]
    if 0 < count < len(group):
        chosen = rng.permutation(len(group))[:count]
        group, first, second = group[chosen], first[chosen], second[chosen]
    owner = group
    present = rng.random(len(group)) >= (negatives if groups > 1 else 0.0)
    if groups > 1:
        other = (group + rng.integers(1, groups, len(group))) % groups
        owner = np.where(present, group, other)
    return Pairs(
        torch.from_numpy(owner * views + first),
        torch.from_numpy(group * views + second),
        torch.from_numpy(present),
    )
