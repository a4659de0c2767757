# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from hypothesis import given
from hypothesis import strategies as st

from hcat_ros.training.pairs import Pairs, pairs_of_groups


def drawn(groups: int, views: int, count: int, negatives: float, seed: int = 0) -> Pairs:
    return pairs_of_groups(groups, views, count, negatives, np.random.default_rng(seed))


@given(
    st.integers(1, 5), st.integers(1, 6), st.integers(0, 200), st.floats(0, 1), st.integers(0, 99)
)
def test_present_pairs_are_two_different_views_of_one_object(
    groups: int, views: int, count: int, negatives: float, seed: int
) -> None:
    pairs = drawn(groups, views, count, negatives, seed)
    total = groups * views * max(1, views - 1)
    assert len(pairs.search) == (min(count, total) or total if count else total)
    assert {len(part) for part in pairs} == {len(pairs.search)}
    assert pairs.present.dtype == torch.bool
    seen = set()
    for template, search, present in zip(*(part.tolist() for part in pairs), strict=True):
        assert 0 <= template < groups * views
        assert 0 <= search < groups * views
        assert (template // views == search // views) == present
        if views > 1:
            assert template % views != search % views
        seen.add((search, template % views))
    assert len(seen) == len(pairs.search)  # no pair twice


def test_all_pairs_use_each_search_region_equally_often() -> None:
    pairs = drawn(4, 6, 0, 0.1)
    assert pairs.search.bincount().tolist() == [5] * 24


def test_a_single_view_is_paired_with_itself() -> None:
    pairs = drawn(16, 1, 16, 0)
    assert sorted(pairs.search.tolist()) == list(range(16))
    assert (pairs.template == pairs.search).all()
    assert pairs.present.all()


@pytest.mark.parametrize('share', [0.0, 0.08, 0.5, 1.0])
def test_the_share_of_pairs_with_another_object_is_as_requested(share: float) -> None:
    absent = [1 - drawn(4, 6, 96, share, seed).present.float().mean().item() for seed in range(40)]
    assert np.mean(absent) == pytest.approx(share, abs=0.02)


def test_a_single_object_gives_no_pair_with_another_object() -> None:
    assert drawn(1, 6, 0, 1.0).present.all()


def test_other_objects_are_drawn_equally_often() -> None:
    pairs = drawn(4, 20, 0, 1.0)
    counts = torch.zeros(4, 4)
    for template, search in zip((pairs.template // 20).tolist(), (pairs.search // 20).tolist()):
        counts[template, search] += 1
    assert counts.diagonal().sum() == 0
    others = counts[~torch.eye(4, dtype=torch.bool)]
    assert others.min() > 0.7 * others.mean()


def test_a_draw_depends_only_on_the_state_of_the_generator() -> None:
    one, same, other = drawn(4, 6, 50, 0.3, 1), drawn(4, 6, 50, 0.3, 1), drawn(4, 6, 50, 0.3, 2)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.search, other.search)
