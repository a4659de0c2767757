# SPDX-License-Identifier: Apache-2.0
"""What the node says of itself on /diagnostics."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

WINDOW = 300
"""Samples that percentiles are taken over, 10 s at 30 fps."""


class Statistics:
    """Counts and durations since the node became active; rates since the last report."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)
        self._samples: dict[str, deque[float]] = {}
        self._reported: dict[str, int] = {}
        self.last_problem = ''

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] += by

    def sample(self, name: str, seconds: float) -> None:
        """Note a duration."""
        self._samples.setdefault(name, deque(maxlen=WINDOW)).append(seconds)

    def problem(self, kind: str, reason: str) -> None:
        """Count something that was refused and keep its reason."""
        self.count(kind)
        self.last_problem = reason

    def report(self, period: float) -> dict[str, str]:
        """Return all as text; rates are over the `period` in seconds since the last report."""
        values = {}
        for name, total in self.counts.items():
            values[name] = str(total)
            values[f'{name} rate [1/s]'] = f'{(total - self._reported.get(name, 0)) / period:.1f}'
        self._reported = dict(self.counts)
        for name, samples in self._samples.items():
            p50, p95, p99 = np.percentile(samples, (50, 95, 99)) * 1e3
            values[f'{name} p50/p95/p99 [ms]'] = f'{p50:.1f} / {p95:.1f} / {p99:.1f}'
        if self.last_problem:
            values['last problem'] = self.last_problem
        return values


def diagnostic_array(
    stamp: object, name: str, hardware: str, level: bytes, summary: str, values: Mapping[str, str]
) -> DiagnosticArray:
    """Return the message for /diagnostics. stamp: builtin_interfaces/Time."""
    status = DiagnosticStatus(level=level, name=name, message=summary, hardware_id=hardware)
    status.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = stamp
    return array
