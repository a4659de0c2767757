# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from hcat_ros.evaluation.metrics import (
    average_overlap,
    centre_errors,
    lost_measures,
    precision,
    roc_auc,
    success_auc,
)


def test_frames_without_a_target_do_not_count() -> None:
    values = [0.2, math.nan, 0.8]
    assert average_overlap(values) == pytest.approx(0.5)
    assert success_auc(values) == success_auc([0.2, 0.8])
    assert precision([5, math.nan, 30]) == 0.5


@pytest.mark.parametrize(('value', 'area'), [(0.0, 0.0), (1.0, 20 / 21), (0.5, 10 / 21)])
def test_success_auc_counts_the_thresholds_below(value: float, area: float) -> None:
    assert success_auc([value]) == pytest.approx(area)


def test_centre_errors() -> None:
    errors = centre_errors([[0, 0, 10, 10], [3, 4, 10, 10]], [[0, 0, 10, 10], [0, 0, 10, 10]])
    assert errors.tolist() == [0.0, 5.0]


def test_roc_auc_equals_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(3)
    scores, hits = rng.integers(0, 8, 60) / 8, rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[hits] for b in scores[~hits]]
    assert roc_auc(scores, hits) == pytest.approx(np.mean(pairs))
    assert math.isnan(roc_auc([0.1, 0.2], [True, True]))


def test_lost_measures() -> None:
    nan = float('nan')
    overlap = [0.9, 0.8, 0.6, 0.3, 0.1, nan, nan, 0.0]
    lost = [0, 1, 0, 1, 1, 1, 0, 1]
    found = lost_measures(lost, overlap)
    assert found.precision == 3 / 4  # the frame between does not count
    assert found.recall == 3 / 4
    assert found.false_alarms == 1 / 3
    assert np.isnan(lost_measures([0], [0.9]).precision)
    assert np.isnan(lost_measures([0], [0.9]).recall)
