# SPDX-License-Identifier: Apache-2.0
"""Whether the tracker still sees its target: hysteresis on the raw score.

What a target scores while it is surely seen differs from one to the next (0.7 to 0.95), and falls
by a tenth when it is gone and something else is found in its place. So thresholds are shares of
the target's own score, the median of its first frames. (A second peak tells less: on twelve videos
the ROC AUC of the score is 0.97, of the score less half of the second peak 0.96.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from statistics import median

FIRST_FRAMES = 10
"""Number of frames on which the target's own score is measured."""
LEAST_OWN_SCORE = 0.5
"""Targets that score less from the beginning are judged as if they scored this."""
SMOOTHING = 0.5
"""Share of the newest frame in the smoothed score: one bad frame is not a loss."""
CONFIRMATIONS = 2
"""Frames in a row that must look like the target before it counts as found again."""
STEADY = 6
"""Frames in a row that must look no worse than an uncertain target, for one that has changed."""


class TargetState(Enum):
    """State of a target, judged by its score."""

    TRACKING = 'tracking'
    UNCERTAIN = 'uncertain'
    """Scores less than the target does: it may be hidden in part, or something else."""
    LOST = 'lost'


@dataclass(frozen=True)
class Thresholds:
    """Shares of the target's own score, 0 to 1."""

    uncertain: float
    """Below it the target is uncertain; 0: never."""
    lost: float
    """Below it the target is lost; 0: never."""
    found: float
    """At or above it a lost target counts as found again, and an uncertain one as certain."""


class Confidence:
    """The state of one target, from `update` to `update`."""

    def __init__(self) -> None:
        self.state = TargetState.TRACKING
        self._first: list[float] = []
        self._smoothed = 1.0
        self._again = self._steady = 0

    def share(self, score: float) -> float:
        """Return a raw score, 0..1, as a share of the target's own."""
        own = median(self._first) if self._first else score
        return score / max(own, LEAST_OWN_SCORE)

    @property
    def smoothed_share(self) -> float:
        """The share of the target's own score, smoothed over the last frames."""
        return self._smoothed

    def doubt(self) -> None:
        """Count the target as uncertain: what was seen is something else."""
        if self.state is TargetState.TRACKING:
            self.state = TargetState.UNCERTAIN

    def confirm(self, share: float) -> None:
        """Count the target as found again, with this share of its own score."""
        self.state, self._smoothed, self._again, self._steady = TargetState.TRACKING, share, 0, 0

    @property
    def confirming(self) -> bool:
        """Whether what was found may be the lost target; one more frame tells."""
        return self._again > 0

    def update(self, score: float, thresholds: Thresholds) -> TargetState:
        """Return the state after a frame with this raw score where the target should be."""
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
