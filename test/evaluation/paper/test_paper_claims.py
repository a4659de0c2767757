# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from hcat_ros.evaluation.paper.claims import CLAIMS, ClaimVerdict, verdicts
from hcat_ros.evaluation.paper.systems import SYSTEMS, Cost
from hcat_ros.evaluation.paper.turns import AUTHORS, OURS, TimedRow

COST = Cost(10, 4, 3, 2)


def judged(text: str, found: list[ClaimVerdict]) -> list[ClaimVerdict]:
    return [verdict for verdict in found if text in verdict.claim.text]


def fs(slow: list[float], quick: list[float]) -> ClaimVerdict:
    """Return the verdict on FS from the seconds of each round without (slow) and with FS."""
    seconds = {
        TimedRow('hierarchical', 'torch', OURS): np.array(slow),
        TimedRow('hcat', 'torch', OURS): np.array(quick),
    }
    (verdict,) = judged('FS', verdicts({}, seconds))
    return verdict


def test_all_claims_are_about_known_systems() -> None:
    for claim in CLAIMS:
        assert {claim.faster, claim.slower} <= set(SYSTEMS)


def test_rounds_are_compared_one_by_one() -> None:
    # The machine becomes ten times as slow; with FS each round takes half the time.
    verdict = fs([1, 10, 1, 10], [0.5, 5, 0.5, 5])
    assert verdict.ratio == pytest.approx((2, 2, 2))
    assert verdict.holds == 'yes'


@pytest.mark.parametrize(
    ('slow', 'holds'),
    [
        ([1.1] * 10, 'yes'),
        ([1.1] * 9 + [0.5], 'yes'),
        ([1.1] * 8 + [0.5] * 2, 'not clear'),
        ([0.9] * 9 + [1.5], 'no'),
        ([0.9] * 5 + [1.1] * 5, 'not clear'),
    ],
)
def test_faster_holds_if_nine_of_ten_rounds_are_faster(slow: list[float], holds: str) -> None:
    assert fs(slow, [1.0] * 10).holds == holds


def test_equal_cost_means_equal_counts_and_similar_speeds() -> None:
    seconds = {
        TimedRow('hierarchical', 'onnxruntime', AUTHORS): np.array([1.0, 1.0]),
        TimedRow('baseline', 'onnxruntime', AUTHORS): np.array([1.02, 1.03]),
        TimedRow('transt_h', 'onnxruntime', AUTHORS): np.array([1.0, 1.0]),
        TimedRow('transt', 'onnxruntime', AUTHORS): np.array([1.1, 1.2]),
    }
    costs = {'hierarchical': COST, 'baseline': COST, 'transt_h': COST}
    costs['transt'] = COST._replace(authors=COST.authors + 1)
    found = judged('costs what', verdicts(costs, seconds))
    assert [(v.claim.faster, v.rows is None, v.holds) for v in found] == [
        ('hierarchical', True, 'yes'),
        ('hierarchical', False, 'yes'),
        ('transt_h', True, 'no'),
        ('transt_h', False, 'no'),
    ]


@pytest.mark.parametrize(
    ('slow', 'holds'),
    [
        ([0.95, 1.05], 'yes'),
        ([0.8, 1.5], 'not clear'),
        ([1.2, 1.2], 'no'),
        ([1.02, 1.15], 'not clear'),
    ],
)
def test_speeds_are_equal_only_if_all_rounds_agree(slow: list[float], holds: str) -> None:
    seconds = {
        TimedRow('hierarchical', 'torch', OURS): np.ones(2),
        TimedRow('baseline', 'torch', OURS): np.array(slow),
    }
    (verdict,) = judged('costs what', verdicts({}, seconds))
    assert verdict.holds == holds


def test_the_published_runtime_ratio_belongs_to_the_form_of_the_authors() -> None:
    seconds = {
        TimedRow('hcat', runtime, form): np.array([value, value])
        for runtime, value in (('torch', 3.0), ('onnxruntime', 1.5), ('openvino', 1.0))
        for form in (AUTHORS, OURS)
    }
    found = judged('ONNX Runtime is faster', verdicts({'hcat': COST}, seconds))
    assert [(v.ratio, v.published) for v in found] == [((2, 2, 2), 90 / 45), ((2, 2, 2), None)]
    assert all(v.rows and v.rows[1].runtime == 'torch' for v in found)


def test_claims_without_measurements_have_no_verdict() -> None:
    assert verdicts({'hcat': COST}, {TimedRow('hcat', 'torch', OURS): np.ones(2)}) == []
