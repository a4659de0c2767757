# SPDX-License-Identifier: Apache-2.0
"""A tracker over a data set, scored: what a report is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.protocols import RunScore
from hcat_ros.evaluation.results import SequenceResult


class RealTime(NamedTuple):
    """What is left of a tracker's accuracy when frames do not wait for it."""

    fps: float
    offline: float
    """The protocol's first measure when every frame is tracked."""
    real: float
    """Score in real time."""
    skipped: float
    """Share of the frames that came while the tracker was busy."""
    least_rate: float | None
    """Smallest number of updates a second that keeps 95 % of `offline`; None: not measured."""


@dataclass(frozen=True)
class Run:
    """One tracker over all sequences of a data set, scored."""

    title: str
    configuration: dict[str, Any]
    """All that one needs to do it again: tracker, engine, versions, protocol."""
    clips: list[Clip]
    results: list[SequenceResult]
    score: RunScore
    real_time: RealTime | None = None
    remarks: tuple[str, ...] = ()
    """Remarks that the figures must not be read without."""
