# SPDX-License-Identifier: Apache-2.0
"""Judges from the raw score, with hysteresis, whether the tracker still sees its target.

The scores of visible targets differ (0.7 to 0.95), and a score falls by only a tenth when the
target has gone and the tracker finds another object in its place. Thresholds are therefore shares
of the target's own score, the median of its first frames. (The second peak of the score map does
not help: on twelve videos the ROC AUC is 0.97 for the score, and 0.96 for the score minus half of
the second peak.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from statistics import median

FIRST_FRAMES = 10
"""Number of frames, in state tracking, whose median score is the target's own score."""
LEAST_OWN_SCORE = 0.5
"""Lower limit of the own score, for targets that score less from the beginning."""
SMOOTHING = 0.5
"""Weight of the newest frame in the smoothed score. Smoothing keeps one bad frame from being a
loss."""
CONFIRMATIONS = 2
"""Consecutive frames at or above the found threshold before a lost target counts as found."""
STEADY = 6
"""Consecutive frames at or above the uncertain threshold after which a lost target counts as found
even below the found threshold, because it may look different now."""


class TargetState(Enum):
    """State of a target, judged by its score."""

    TRACKING = 'tracking'
    UNCERTAIN = 'uncertain'
    """The score is too low: the target may be partly hidden, or the box may show something else."""
    LOST = 'lost'


@dataclass(frozen=True)
class Thresholds:
    """Shares of the target's own score, 0 to 1."""

    uncertain: float
    """Smoothed share below which the target is uncertain; 0: never."""
    lost: float
    """Smoothed share below which the target is lost; 0: never."""
    found: float
    """Share at which a lost or uncertain target counts as tracked again.

    A lost target must reach this share in `CONFIRMATIONS` consecutive frames; for an uncertain
    target the smoothed share counts."""


class Confidence:
    """State of one target; `update` advances the state by one frame."""

    def __init__(self) -> None:
        self.state = TargetState.TRACKING
        self._first: list[float] = []
        self._smoothed = 1.0
        self._again = self._steady = 0

    def share(self, score: float) -> float:
        """Return a raw score, 0..1, as a share of the target's own score."""
        own = median(self._first) if self._first else score
        return score / max(own, LEAST_OWN_SCORE)

    @property
    def smoothed_share(self) -> float:
        """The share of the target's own score, smoothed over the last frames."""
        return self._smoothed

    def doubt(self) -> None:
        """Make a tracked target uncertain, because its box shows another target."""
        if self.state is TargetState.TRACKING:
            self.state = TargetState.UNCERTAIN

    def confirm(self, share: float) -> None:
        """Count the target as found again, with this share of its own score."""
        self.state, self._smoothed, self._again, self._steady = TargetState.TRACKING, share, 0, 0

    @property
    def confirming(self) -> bool:
        """Whether the last frame scored like the lost target, so that the next frame decides."""
        return self._again > 0

    def update(self, score: float, thresholds: Thresholds) -> TargetState:
        """Take the raw score of the next frame, 0..1, and return the new state."""
        if len(self._first) < FIRST_FRAMES and self.state is TargetState.TRACKING:
            self._first.append(score)
        share = self.share(score)
        self._smoothed += SMOOTHING * (share - self._smoothed)
        if self.state is TargetState.LOST:
            self._again = self._again + 1 if share >= thresholds.found else 0
            self._steady = self._steady + 1 if share >= thresholds.uncertain else 0
            if self._again >= CONFIRMATIONS or (thresholds.uncertain and self._steady >= STEADY):
                self.state, self._smoothed = TargetState.TRACKING, share
        elif self._smoothed < thresholds.lost:
            self.state, self._again, self._steady = TargetState.LOST, 0, 0
        elif self._smoothed < thresholds.uncertain:
            self.state = TargetState.UNCERTAIN
        elif self._smoothed >= thresholds.found or thresholds.uncertain == 0:
            self.state = TargetState.TRACKING
        return self.state
