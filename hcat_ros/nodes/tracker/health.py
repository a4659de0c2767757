# SPDX-License-Identifier: Apache-2.0
"""How well an active tracker is, for its status on /diagnostics."""

from __future__ import annotations

from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticStatus

from hcat_ros.nodes.diagnostics import Statistics

COUNTED = (
    'images',
    'tracks',
    'lost tracks',
    'dropped images',
    'refused images',
    'refused boxes',
    'failed frames',
)
"""Counters published from the start, so that plots have a baseline."""


def tracking_health(
    statistics: Statistics, silent: float, target: str, standing: Sequence[str] = ()
) -> tuple[bytes, str]:
    """Return the level of an active tracker and what it is about.

    silent: seconds without an image if those are too many, else 0. target: as 'tracking' or
    'target lost'. standing: what is wrong for as long as it lasts. What keeps the node from its
    work comes first; STALE is for those who miss us.
    """
    if statistics.failing:
        return DiagnosticStatus.ERROR, f'engine failing: {statistics.failing}'
    first = f'no image for {silent:.0f} s' if silent > 0 else target
    lately = statistics.problem_lately
    reasons = [*standing, *([lately] if lately else [])]
    fine = not reasons and not silent and target != 'target lost'
    level = DiagnosticStatus.OK if fine else DiagnosticStatus.WARN
    return level, '; '.join([first, *reasons])
