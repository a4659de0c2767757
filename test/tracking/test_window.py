# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from hcat_ros.tracking.window import hanning_window, penalised

score_maps = arrays(np.float32, (16, 16), elements=st.floats(0, 1, width=32))


@pytest.mark.parametrize('grid', [8, 16, 32])
def test_the_window_is_the_outer_product_of_two_hanning_windows(grid: int) -> None:
    line = [0.5 - 0.5 * math.cos(2 * math.pi * i / (grid - 1)) for i in range(grid)]
    expected = [[a * b for b in line] for a in line]
    assert_allclose(hanning_window(grid), expected, atol=1e-12)


def test_the_cached_window_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(ValueError, match='read-only'):
        hanning_window(16)[0, 0] = 1


@given(score_maps, st.floats(0, 1))
def test_penalised_scores_lie_between_score_and_window(scores: np.ndarray, weight: float) -> None:
    window = hanning_window(16)
    found = penalised(scores, weight)
    assert found.dtype == np.float64
    assert (found >= np.minimum(scores, window) - 1e-9).all()
    assert (found <= np.maximum(scores, window) + 1e-9).all()


@given(score_maps)
def test_weight_0_gives_the_scores_and_weight_1_the_window(scores: np.ndarray) -> None:
    before = scores.copy()
    assert_allclose(penalised(scores, 0), scores)
    assert_allclose(penalised(scores, 1), hanning_window(16))
    assert (scores == before).all()


def test_penalised_score_of_a_known_cell() -> None:
    scores = np.zeros((16, 16), np.float32)
    scores[0, 5] = 0.5  # the window is 0 on the border
    assert penalised(scores, 0.42)[0, 5] == pytest.approx(0.58 * 0.5)
