# SPDX-License-Identifier: Apache-2.0
"""Checks the clock that measures the age of tracks."""

from __future__ import annotations

LEAST_PROGRESS = 0.05
"""Progress of simulated time per real second below which the clock counts as stopped."""


class ClockWatch:
    """Uses the machine's steady clock to detect that the clock of the stamps is wrong.

    Simulated time may stand still, and system time may be set back. In both cases a track would
    stay fresh for ever, and the platform would drive on.
    """

    def __init__(self) -> None:
        self._clock: float | None = None
        self._moved = 0.0
        self._track: float | None = None

    def begin(self) -> None:
        """Start anew."""
        self._clock = self._track = None

    def record_track(self, steady: float) -> None:
        """Record the time of a good track on the steady clock."""
        self._track = steady

    def forget_track(self) -> None:
        """Forget the last track, as at the start."""
        self._track = None

    def trouble(self, now: float, steady: float, timeout: float, simulated: bool) -> str:
        """Return why the clock of the stamps cannot be relied on, '' if it can.

        now: time on that clock; timeout: maximum seconds without progress or track; simulated:
        whether that clock is simulated, so that its seconds may differ from real seconds.
        """
        if self._clock is None or abs(now - self._clock) >= LEAST_PROGRESS * timeout:
            self._clock, self._moved = now, steady
        if simulated:
            stands = steady - self._moved >= timeout
            return 'use_sim_time is set, but /clock stands still, or nearly' if stands else ''
        if self._track is not None and steady - self._track >= timeout:
            return f"no good track for {steady - self._track:.2f} s of the machine's own clock"
        return ''
