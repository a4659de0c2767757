# SPDX-License-Identifier: Apache-2.0
"""Whether the tracker still sees its target: hysteresis on the raw score.

Visible targets score differently (0.7 to 0.95), and the score falls by only a tenth when a target
has gone and the tracker finds another object in its place. Thresholds are therefore shares of the
target's own score, the median of its first frames. (The second peak of the score map does not help:
on twelve videos the ROC AUC of the score is 0.97, of the score less half of that peak 0.96.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from statistics import median

FIRST_FRAMES = 10
"""Number of frames, in state tracking, whose median score is the target's own score."""
LEAST_OWN_SCORE = 0.5
"""Targets that score less from the beginning are judged as if they scored this."""
SMOOTHING = 0.5
"""Share of the newest frame in the smoothed score: one bad frame is not a loss."""
CONFIRMATIONS = 2
"""Frames in a row that must look like the target before it counts as found again."""
STEADY = 6
"""Frames in a row at or above the uncertain threshold after which a lost target, which may look
different now, counts as found without reaching the found threshold."""


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
    """Smoothed share below which the target is uncertain; 0: never."""
    lost: float
    """Smoothed share below which the target is lost; 0: never."""
    found: float
    """Share at which a lost target is found again and an uncertain one is certain.

    A lost target must reach it in `CONFIRMATIONS` frames in a row; an uncertain one smoothed."""


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
        """Make a tracked target uncertain: it saw another object. A lost one stays lost."""
        if self.state is TargetState.TRACKING:
            self.state = TargetState.UNCERTAIN

    def confirm(self, share: float) -> None:
        """Count the target as found again, with this share of its own score."""
        self.state, self._smoothed, self._again, self._steady = TargetState.TRACKING, share, 0, 0

    @property
    def confirming(self) -> bool:
        """Whether the last frame scored as the lost target; the next one decides."""
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
