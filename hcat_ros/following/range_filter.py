# SPDX-License-Identifier: Apache-2.0
"""How far away the target is, from how large it looks."""

from __future__ import annotations

from typing import NamedTuple


class Range(NamedTuple):
    """A range at a time."""

    time: float
    range: float
    """m."""
    speed: float
    """m/s, the target's own along the line of sight, positive away."""
    deviation: float
    """m."""
