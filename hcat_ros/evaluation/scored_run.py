# SPDX-License-Identifier: Apache-2.0
"""A tracker's scored run over a data set; reports are made from such runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.protocols import RunScore
from hcat_ros.evaluation.results import SequenceResult


class RealTime(NamedTuple):
    """A tracker's accuracy when frames do not wait for it, beside its offline accuracy."""

    fps: float
    offline: float
    """The protocol's first measure when every frame is tracked."""
    real: float
    """The same measure in real time."""
    skipped: float
    """Share of the frames that the tracker skipped because it was busy."""
    least_rate: float | None
    """Smallest number of updates a second that keeps 95 % of `offline`; None: not measured."""


@dataclass(frozen=True)
class Run:
    """One tracker over all sequences of a data set, scored."""

    title: str
    configuration: dict[str, Any]
    """Everything needed to repeat the run: tracker, engine, versions, protocol."""
    clips: list[Clip]
    results: list[SequenceResult]
    score: RunScore
    real_time: RealTime | None = None
    remarks: tuple[str, ...] = ()
    """Caveats that must be shown with the figures."""
