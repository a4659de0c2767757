# SPDX-License-Identifier: Apache-2.0
"""Whether the clock by which tracks grow old works at all."""

from __future__ import annotations

LEAST_PROGRESS = 0.05
"""Share of the machine's seconds by which simulated time moves, or it counts as standing."""


class ClockWatch:
    """Finds with the machine's own steady clock what the clock of the stamps would hide.

    Simulated time may stand still and the system's may be set back: by either a track would stay
    fresh for ever, and the platform would drive on.
    """

    def __init__(self) -> None:
        self._clock: float | None = None
        self._moved = 0.0
        self._track: float | None = None

    def begin(self) -> None:
        """Start to count anew."""
        self._clock = self._track = None

    def record_track(self, steady: float) -> None:
        """Note a good track, at a time of the steady clock."""
        self._track = steady

    def forget_track(self) -> None:
        """Wait for a track, as at the start."""
        self._track = None

    def trouble(self, now: float, steady: float, timeout: float, simulated: bool) -> str:
        """Return why the clock of the stamps cannot be relied on, '' if it can.

        now: its time; timeout: seconds for which nothing may come; simulated: that clock is
        simulated, so that its seconds are longer or shorter than the steady one's.
        """
        if self._clock is None or abs(now - self._clock) >= LEAST_PROGRESS * timeout:
            self._clock, self._moved = now, steady
        if simulated:
            stands = steady - self._moved >= timeout
            return 'use_sim_time is set, but /clock stands still, or nearly' if stands else ''
        if self._track is not None and steady - self._track >= timeout:
            return f"no good track for {steady - self._track:.2f} s of the machine's own clock"
        return ''
