# SPDX-License-Identifier: Apache-2.0
"""Determines the status of an active tracker for /diagnostics."""

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
    """Return the level and the summary of an active tracker's status.

    silent: seconds without an image if that is too long, else 0. target: state of the target, such
    as 'tracking' or 'target lost'. standing: current problems. The level is ERROR if the engine
    fails and never STALE, which monitors use for a node that no longer publishes.
    """
    if statistics.failing:
        return DiagnosticStatus.ERROR, f'engine failing: {statistics.failing}'
    first = f'no image for {silent:.0f} s' if silent > 0 else target
    lately = statistics.problem_lately
    reasons = [*standing, *([lately] if lately else [])]
    fine = not reasons and not silent and target != 'target lost'
    level = DiagnosticStatus.OK if fine else DiagnosticStatus.WARN
    return level, '; '.join([first, *reasons])
