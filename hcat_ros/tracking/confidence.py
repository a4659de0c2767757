# SPDX-License-Identifier: Apache-2.0
"""Whether the tracker still sees its target."""

from __future__ import annotations

from enum import Enum


class TargetState(Enum):
    """What a track says of its target."""

    TRACKING = 'tracking'
    LOST = 'lost'


def target_state(score: float, lost_threshold: float) -> TargetState:
    """Return LOST for a raw score below the threshold; at threshold 0 a target is never lost."""
    return TargetState.LOST if score < lost_threshold else TargetState.TRACKING
