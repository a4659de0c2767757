# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from hcat_ros.tracking.confidence import (
    CONFIRMATIONS,
    FIRST_FRAMES,
    STEADY,
    Confidence,
    TargetState,
    Thresholds,
)

T, U, L = TargetState.TRACKING, TargetState.UNCERTAIN, TargetState.LOST
LEVELS = Thresholds(uncertain=0.92, lost=0.85, found=0.95)


def after_first_frames(own: float = 0.8) -> Confidence:
    """The confidence in a target after its first frames."""
    confidence = Confidence()
    for _ in range(FIRST_FRAMES):
        assert confidence.update(own, LEVELS) is T
    return confidence


@pytest.mark.parametrize('own', [0.6, 0.8, 0.95])
def test_state_depends_on_the_share_of_the_own_score(own: float) -> None:
    confidence = after_first_frames(own)
    assert confidence.share(own / 2) == pytest.approx(0.5)
    assert confidence.update(own * 0.96, LEVELS) is T
    states = [confidence.update(own * 0.88, LEVELS) for _ in range(6)]
    assert states[-1] is U
    states = [confidence.update(own * 0.7, LEVELS) for _ in range(6)]
    assert states[-1] is L


def test_target_is_lost_after_two_bad_frames_not_one() -> None:
    confidence = after_first_frames()
    assert confidence.update(0.8 * 0.75, LEVELS) is U
    assert confidence.update(0.8, LEVELS) is U, 'half-way back is not certain'
    for _ in range(4):
        state = confidence.update(0.8, LEVELS)
    assert state is T
    assert [confidence.update(0.4, LEVELS) for _ in range(2)][-1] is L


def test_lost_target_is_found_after_several_good_frames_in_a_row() -> None:
    confidence = after_first_frames()
    for _ in range(3):
        confidence.update(0.1, LEVELS)
    good, bad = 0.8 * 0.97, 0.8 * 0.93
    assert confidence.update(bad, LEVELS) is L, 'enough to be kept, not to be found'
    assert not confidence.confirming
    assert confidence.update(good, LEVELS) is L
    assert confidence.confirming
    assert confidence.update(bad, LEVELS) is L
    assert not confidence.confirming
    states = [confidence.update(good, LEVELS) for _ in range(CONFIRMATIONS)]
    assert states == [L] * (CONFIRMATIONS - 1) + [T]
    assert confidence.update(good, LEVELS) is T


def test_lost_target_that_has_changed_needs_more_frames() -> None:
    confidence = after_first_frames()
    for _ in range(3):
        confidence.update(0.1, LEVELS)
    changed = 0.8 * (LEVELS.uncertain + LEVELS.found) / 2
    assert [confidence.update(changed, LEVELS) for _ in range(STEADY - 1)] == [L] * (STEADY - 1)
    assert confidence.update(0.8 * 0.86, LEVELS) is L, 'all of them in a row'
    states = [confidence.update(changed, LEVELS) for _ in range(STEADY)]
    assert states == [L] * (STEADY - 1) + [T]
    only_lost = Thresholds(0.0, 0.85, 0.95)
    confidence = after_first_frames()
    assert [confidence.update(score, only_lost) for score in [0.1] * 3 + [changed] * 20][-1] is L


def test_thresholds_of_0_keep_the_state_tracking() -> None:
    confidence = Confidence()
    never = Thresholds(0.0, 0.0, 0.95)
    assert {confidence.update(score, never) for score in (0.9, 0.5, 0.0, 0.0, 0.01)} == {T}


def test_own_score_comes_from_the_first_frames_only() -> None:
    confidence = after_first_frames(0.8)
    for _ in range(50):
        confidence.update(0.7, Thresholds(0, 0, 0.95))
    assert confidence.share(0.8) == 1


def test_target_with_low_scores_from_the_start_is_lost() -> None:
    confidence = Confidence()
    assert [confidence.update(0.05, LEVELS) for _ in range(4)][-1] is L
