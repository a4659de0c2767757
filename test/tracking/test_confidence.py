# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from hcat_ros.tracking.confidence import TargetState, target_state


@pytest.mark.parametrize(
    ('score', 'threshold', 'expected'),
    [
        (0.0, 0.0, TargetState.TRACKING),  # 0: never lost
        (0.3, 0.3, TargetState.TRACKING),
        (0.2999, 0.3, TargetState.LOST),
        (0.9, 1.0, TargetState.LOST),
        (1.0, 1.0, TargetState.TRACKING),
    ],
)
def test_a_target_is_lost_below_the_threshold(
    score: float, threshold: float, expected: TargetState
) -> None:
    assert target_state(score, threshold) is expected
