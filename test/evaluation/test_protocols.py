# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from answers import a_clip, a_result, plausible

from hcat_ros.evaluation.protocols import PROTOCOLS, RunScore, score_run, score_sequence

NAN = float('nan')
SIZE = (320, 240)


def score(name: str, truth: Any, boxes: Any) -> RunScore:
    return score_run(PROTOCOLS[name], [a_clip(truth)], [a_result(boxes)], [SIZE])


def test_every_protocol_gives_its_measures_in_order() -> None:
    rng = np.random.default_rng(0)
    truth, boxes = plausible(rng, 40)
    for name, protocol in PROTOCOLS.items():
        found = score(name, truth, boxes)
        assert protocol.name == name
        assert tuple(found.measures) == tuple(found.sequences[0].measures) == protocol.measures
        assert all(0 <= value <= 1 for value in found.measures.values())
        assert found.success.shape == (21,)
        assert found.precision.shape == found.normalised_precision.shape == (51,)
        # One sequence: the run is the sequence.
        assert found.measures == pytest.approx(found.sequences[0].measures)
        perfect = score(name, truth, truth).measures
        assert all(value > 0.94 for value in perfect.values()), (name, perfect)


def test_curves_agree_with_the_measures() -> None:
    truth, boxes = plausible(np.random.default_rng(1), 50)
    found = score('plain', truth, boxes)
    assert found.success.mean() == pytest.approx(found.measures['success AUC'])
    assert found.success[10] == pytest.approx(found.measures['SR 0.5'])
    assert found.precision[20] == pytest.approx(found.measures['precision'])
    mean = found.normalised_precision.mean()
    assert mean == pytest.approx(found.measures['normalised precision'])


TWO = [[0, 0, 10, 10], [0, 0, 10, 10], [NAN] * 4]


@pytest.mark.parametrize(
    ('name', 'measure', 'value'),
    [
        ('plain', 'AO', 0.0),  # the first frame and the one without a target do not count
        ('got10k', 'AO', 0.0),
        ('otb', 'success AUC', 0.5 * 20 / 21),  # the first frame counts, with the true box
        ('uav123', 'success AUC', 0.5 * 20 / 21),
        ('lasot', 'success AUC', 1 / 3 * 20 / 21),  # divides by the absent frame too
        ('lasot', 'normalised precision 0.2', 1 / 3),
        # The first frame passes all 21 overlap thresholds; the second only the threshold 0.
        ('trackingnet', 'success AUC', 0.5 + 0.5 / 40),
    ],
)
def test_each_protocol_counts_its_own_frames(name: str, measure: str, value: float) -> None:
    away = [[50, 50, 10, 10]] * 3
    assert score(name, TWO, away).measures[measure] == pytest.approx(value)


def test_a_sequence_score_has_only_the_frames_that_count() -> None:
    still = [[0, 0, 10, 10]] * 3
    shown = score('plain', TWO, still).sequences[0]
    assert np.isnan(shown.overlaps).tolist() == [True, False, True]
    shown = score('lasot', TWO, still).sequences[0]
    assert np.isnan(shown.overlaps).tolist() == [False, False, True]
    assert np.isnan(shown.centre_errors).tolist() == [False, False, True]
    assert np.isnan(shown.normalised_errors).tolist() == [False, False, True]


@pytest.mark.parametrize('name', PROTOCOLS)
def test_a_missing_box_is_a_miss(name: str) -> None:
    truth = [[0, 0, 10, 10]] * 4
    boxes = [[0, 0, 10, 10], [NAN] * 4, [NAN] * 4, [0, 0, 10, 10]]
    found = score(name, truth, boxes)
    assert found.sequences[0].overlaps[1:].tolist() == [0, 0, 1]
    assert found.sequences[0].centre_errors[1:].tolist() == [np.inf, np.inf, 0]
    missed = np.array([[0.0, 0, 10, 10], [200, 200, 10, 10], [200, 200, 10, 10], [0, 0, 10, 10]])
    assert found.measures == pytest.approx(score(name, truth, missed).measures)


def test_a_result_starts_at_the_first_visible_frame() -> None:
    truth = [[NAN] * 4, [0, 0, 10, 10], [0, 0, 10, 10]]
    found = score('plain', truth, [[0, 0, 10, 10], [0, 0, 10, 5]])
    assert found.sequences[0].overlaps[1] == 0.5
    with pytest.raises(ValueError, match='cat: a result of 3 boxes for 2 frames'):
        score('plain', truth, [[0, 0, 10, 10]] * 3)


@pytest.mark.parametrize('name', ['plain', 'otb', 'got10k', 'trackingnet'])
def test_a_clip_of_a_test_split_has_no_score(name: str) -> None:
    with pytest.raises(ValueError, match=r'^cat: no true box after the first.*--submission'):
        score(name, [[0, 0, 10, 10], [NAN] * 4], [[0, 0, 10, 10]] * 2)


def test_an_empty_true_box_counts_as_missed() -> None:
    # The last frames of OTB's Board and Twinnings, which its toolkit counts.
    truth = [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 0, 0]]
    found = score('otb', truth, [[0, 0, 10, 10]] * 3).measures
    assert found['success AUC'] == pytest.approx(2 / 3 * 20 / 21)


def test_vot_counts_absent_targets_but_not_unknown_ones() -> None:
    """In vot-toolkit 0.9 a box has an overlap of 0 with an empty true region."""
    box = [0, 0, 10, 10]
    truth = [box, box, [0, 0, 0, 0], [NAN] * 4]
    found = score('vot', truth, [box] * 4)
    assert found.measures['AO'] == 1 / 2
    shown = found.sequences[0]
    assert np.isnan(shown.overlaps).tolist() == [True, False, True, True], 'no target, no overlap'
    assert score('vot', truth, [box, box, [NAN] * 4, box]).measures['AO'] == 1 / 2


def test_lists_of_different_lengths_are_refused() -> None:
    for clips in ([], [a_clip(TWO)]):
        with pytest.raises(ValueError, match='clips, 0 results, 1 sizes'):
            score_run(PROTOCOLS['plain'], clips, [], [SIZE])


def test_got10k_pools_frames_while_others_average_sequences() -> None:
    box = [0, 0, 10, 10]
    clips = [a_clip([box] * 2, 'short'), a_clip([box] * 4, 'long')]
    results = [a_result([box] * 2), a_result([box] + [[100, 100, 10, 10]] * 3)]
    ao = {
        name: score_run(PROTOCOLS[name], clips, results, [SIZE, SIZE]).measures['AO']
        for name in ('plain', 'got10k', 'vot')
    }
    assert ao == pytest.approx({'plain': 1 / 2, 'got10k': 1 / 4, 'vot': 2 / 6})


def test_trackingnet_integrates_over_whole_pixels() -> None:
    truth = [[0, 0, 10, 10]] * 2
    found = score('trackingnet', truth, [[0, 0, 10, 10], [5.3, 0.2, 9.8, 10.4]]).measures
    # Second frame: an overlap of about 1/3, an error of about 5 pixels or half a side.
    assert found['success AUC'] == pytest.approx((6 + 0.75 + 13 * 0.5) / 20)
    assert found['precision AUC'] == pytest.approx((0.5 + 0.75 + 18) / 20)
    assert found['normalised precision'] == pytest.approx((19 * 0.5 + 0.75) / 20)


def test_one_sequence_scores_the_same_alone_and_in_a_run() -> None:
    truth, boxes = plausible(np.random.default_rng(3), 30)
    alone = score_sequence(PROTOCOLS['otb'], a_clip(truth), a_result(boxes), SIZE)
    assert alone.measures == score('otb', truth, boxes).sequences[0].measures
