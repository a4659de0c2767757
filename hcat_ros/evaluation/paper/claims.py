# SPDX-License-Identifier: Apache-2.0
"""The paper's claims about cost and speed, each tested by the ratio of two rows of the same run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.paper.figures import SPEEDS, Place
from hcat_ros.evaluation.paper.systems import Cost
from hcat_ros.evaluation.paper.turns import AUTHORS, OURS, TimedRow

SAME_SPEED = 0.1
"""Relative difference up to which two speeds count as the same."""
CRITERION = (
    'The ratio of two rows is computed in each round, so that other load on the machine slows '
    'both; brackets hold the range from the 10 % to the 90 % quantile of the rounds. *Faster* '
    'holds (yes) if the whole range is above 1, does not hold (no) if it is all below 1, and is '
    'not clear otherwise. *Costs the same* holds if parameters and multiply-adds are equal; for '
    f'speeds, it holds if median and range are within {SAME_SPEED:.0%} of 1, and does not hold if '
    'the median is not and the range does not contain 1.'
)


class Claim(NamedTuple):
    """The claim that a system is faster than another, or costs the same."""

    text: str
    faster: str
    slower: str
    runtimes: tuple[str | None, str | None] = (None, None)
    """Runtimes of both rows, if the claim is about runtimes; None: any runtime that both share."""
    same: bool = False


CLAIMS = (
    Claim('FS makes it faster (+FS against +Hierarchical)', 'hcat', 'hierarchical'),
    Claim('stride 16 is faster than stride 8', 'hcat', 'hcat_stride8'),
    Claim('N = 1 is faster than N = 2', 'hcat_n1', 'hcat'),
    Claim('cross- is faster than self-attention (Baseline)', 'baseline', 'baseline_sa'),
    Claim('HCAT is faster than TransT', 'hcat', 'transt'),
    Claim('ONNX Runtime is faster than PyTorch', 'hcat', 'hcat', ('onnxruntime', 'torch')),
    Claim(
        'ONNX Runtime is faster than PyTorch, N = 1',
        'hcat_n1',
        'hcat_n1',
        ('onnxruntime', 'torch'),
    ),
    Claim('hierarchical costs what juxtaposed does', 'hierarchical', 'baseline', same=True),
    Claim('hierarchical costs what juxtaposed does', 'transt_h', 'transt', same=True),
)


class ClaimVerdict(NamedTuple):
    """The verdict on a claim."""

    claim: Claim
    rows: tuple[TimedRow, TimedRow] | None
    """Rows of the faster and the slower system; None if counts are compared."""
    published: float | None
    """The paper's ratio, if both figures are known."""
    ratio: tuple[float, float, float] | None
    """Median of the rounds, and their quantiles of 10 and 90 %."""
    holds: str
    """Verdict: yes, no or not clear."""


def spread(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the median, and the quantiles of 10 and 90 %."""
    median, low, high = (float(value) for value in np.quantile(values, (0.5, 0.1, 0.9)))
    return median, low, high


def verdicts(
    costs: Mapping[str, Cost], seconds: Mapping[TimedRow, NDArray[np.float64]]
) -> list[ClaimVerdict]:
    """Return the verdicts on the claims, for all runtimes and forms that both rows have.

    seconds: median of each round, s; the rounds are the same for all rows.
    """
    found = []
    for claim in CLAIMS:
        if claim.same and claim.faster in costs and claim.slower in costs:
            equal = costs[claim.faster] == costs[claim.slower]
            found.append(ClaimVerdict(claim, None, None, None, 'yes' if equal else 'no'))
        for row in seconds:
            if row.system != claim.faster or claim.runtimes[0] not in (None, row.runtime):
                continue
            other = TimedRow(claim.slower, claim.runtimes[1] or row.runtime, row.form)
            if other in seconds:
                ratio = spread(seconds[other] / seconds[row])
                holds = _same(ratio) if claim.same else _faster(ratio)
                found.append(
                    ClaimVerdict(claim, (row, other), _published_ratio(row, other), ratio, holds)
                )
    return found


def _faster(ratio: tuple[float, float, float]) -> str:
    _, low, high = ratio
    return 'yes' if low > 1 else 'no' if high < 1 else 'not clear'


def _same(ratio: tuple[float, float, float]) -> str:
    near = [abs(np.log(value)) <= np.log(1 + SAME_SPEED) for value in ratio]
    if all(near):
        return 'yes'
    _, low, high = ratio
    return 'no' if not near[0] and not low <= 1 <= high else 'not clear'


def _published_ratio(row: TimedRow, other: TimedRow) -> float | None:
    """Return the ratio of the paper's speeds on the CPU, which are for the authors' form only."""
    if row.form != AUTHORS:
        return None
    one, two = (SPEEDS.get((r.system, Place(r.runtime, 'cpu'))) for r in (row, other))
    return None if one is None or two is None else one.value / two.value


FORMS = {AUTHORS: "the authors' form", OURS: 'our form'}
