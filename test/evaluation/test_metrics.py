# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from hcat_ros.evaluation.metrics import (
    NORMALISED_THRESHOLDS,
    average_overlap,
    centre_errors,
    lost_measures,
    normalised_errors,
    normalised_precision,
    normalised_precision_curve,
    overlaps,
    precision,
    precision_curve,
    roc_auc,
    success_auc,
    success_curve,
    success_rate,
)


def test_frames_without_a_target_do_not_count() -> None:
    values = [0.2, math.nan, 0.8]
    assert average_overlap(values) == pytest.approx(0.5)
    assert success_auc(values) == success_auc([0.2, 0.8])
    assert precision([5, math.nan, 30]) == 0.5


@pytest.mark.parametrize(('value', 'area'), [(0.0, 0.0), (1.0, 20 / 21), (0.5, 10 / 21)])
def test_success_auc_counts_the_thresholds_below(value: float, area: float) -> None:
    assert success_auc([value]) == pytest.approx(area)


def test_centre_errors_are_distances_in_pixels() -> None:
    errors = centre_errors([[0, 0, 10, 10], [3, 4, 10, 10]], [[0, 0, 10, 10], [0, 0, 10, 10]])
    assert errors.tolist() == [0.0, 5.0]


def test_normalised_errors_are_relative_to_the_size_of_the_true_box() -> None:
    errors = normalised_errors(
        [[3, 8, 10, 20], [0, 0, 20, 20], [0, 0, 5, 5]],
        [[0, 0, 10, 20], [0, 0, 10, 20], [math.nan] * 4],
    )
    assert errors[:2].tolist() == [0.5, 0.5]
    assert math.isnan(errors[2])


def test_the_overlap_of_a_box_with_itself_is_at_most_1() -> None:
    boxes = np.random.default_rng(5).uniform(0.1, 300, (2000, 4))
    assert overlaps(boxes, boxes).max() == 1
    assert success_curve(overlaps(boxes, boxes))[-1] == 0


def test_success_counts_values_above_and_precision_values_up_to_a_threshold() -> None:
    assert success_rate([0.5, 0.51, 0.2, 1.0]) == 0.5
    assert success_rate([0.75, 0.76, math.nan], 0.75) == 0.5
    assert success_curve([0.5, 1.0])[[0, 9, 10, 19, 20]].tolist() == [1, 1, 0.5, 0.5, 0]
    assert precision([20.0, 20.1]) == 0.5
    assert precision_curve([20.0, 50.5, 0.0])[[0, 19, 20, 50]] == pytest.approx(
        [1 / 3, 1 / 3, 2 / 3, 2 / 3]
    )
    assert normalised_precision_curve([0.2, 0.7])[[0, 19, 20, 50]].tolist() == [0, 0, 0.5, 0.5]


def test_curves_agree_with_the_single_values() -> None:
    rng = np.random.default_rng(2)
    errors, values = rng.uniform(0, 60, 300), rng.random(300)
    assert precision_curve(errors)[20] == precision(errors)
    assert success_curve(values).mean() == success_auc(values)
    assert success_curve(values)[10] == success_rate(values)
    expected = np.mean([precision(errors / 60, limit) for limit in NORMALISED_THRESHOLDS])
    assert normalised_precision(errors / 60) == pytest.approx(expected)


def test_a_frame_without_an_answer_is_not_precise() -> None:
    assert precision([math.inf, 1.0, math.nan]) == 0.5
    assert precision_curve([math.inf, 1.0]).max() == 0.5


def test_roc_auc_equals_the_share_of_ordered_pairs() -> None:
    rng = np.random.default_rng(3)
    scores, hits = rng.integers(0, 8, 60) / 8, rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[hits] for b in scores[~hits]]
    assert roc_auc(scores, hits) == pytest.approx(np.mean(pairs))
    assert math.isnan(roc_auc([0.1, 0.2], [True, True]))


def test_lost_measures_count_hits_misses_and_false_alarms() -> None:
    nan = float('nan')
    overlap = [0.9, 0.8, 0.6, 0.3, 0.1, nan, nan, 0.0]
    lost = [0, 1, 0, 1, 1, 1, 0, 1]
    found = lost_measures(lost, overlap)
    assert found.precision == 3 / 4  # an overlap between hit and miss does not count
    assert found.recall == 3 / 4
    assert found.false_alarms == 1 / 3
    assert np.isnan(lost_measures([0], [0.9]).precision)
    assert np.isnan(lost_measures([0], [0.9]).recall)
