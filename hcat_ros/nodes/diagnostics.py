# SPDX-License-Identifier: Apache-2.0
"""What a node publishes on /diagnostics: its state, counters and timings."""

from __future__ import annotations

import re
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from hcat_ros.nodes.lifecycle import GuardedLifecycleNode

WINDOW = 300
"""Samples that percentiles are taken over, 10 s at 30 fps."""
LATELY = 5.0
"""Seconds for which a refusal makes the status a warning."""
LOG_EVERY = 5.0
"""Seconds between log lines about the same recurring trouble."""
MOST_KINDS = 50
"""Number of reasons whose last log time is remembered."""
LONGEST = 400
"""Characters of a reason: some repeat what they were sent, however long."""


class Statistics:
    """Counters since this object was made, the last durations, rates since the last report."""

    def __init__(self, counted: Sequence[str] = ()) -> None:
        """Begin at 0. counted: counters published from the start, so that plots have a baseline."""
        self.counts: dict[str, int] = defaultdict(int, dict.fromkeys(counted, 0))
        self._samples: dict[str, deque[float]] = {}
        self._reported: dict[str, int] = {}
        self.last_problem = ''
        self.failing = ''
        """Why the last frame could not be tracked, empty if it could."""
        self._problem_time = 0.0

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] += by

    def sample(self, name: str, seconds: float) -> None:
        """Note a duration."""
        self._samples.setdefault(name, deque(maxlen=WINDOW)).append(seconds)

    def count_track(self) -> None:
        """Count a track; tracking no longer counts as failing."""
        self.count('tracks')
        self.failing = ''

    def record_problem(self, kind: str, reason: str) -> None:
        """Count a problem and keep its reason; 'failed frames' make tracking count as failing."""
        self.count(kind)
        self.last_problem = reason
        self._problem_time = time.monotonic()
        if kind == 'failed frames':
            self.failing = reason

    def median(self, name: str) -> float | None:
        """Return the median of the last durations of this name in seconds, None without one."""
        samples = self._samples.get(name)
        return float(np.median(samples)) if samples else None

    @property
    def problem_lately(self) -> str:
        """The last problem if it was in the last few seconds."""
        return self.last_problem if time.monotonic() - self._problem_time < LATELY else ''

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


class Refusals:
    """Counts what is refused and logs the reasons, at limited rates.

    The same reason, numbers aside, is logged every `LOG_EVERY` seconds at most, any reason every
    `LOG_EVERY` / 10; the others are counted but not logged.
    """

    def __init__(self, warn: Callable[[str], None], counted: Sequence[str] = ()) -> None:
        """Begin to count.

        Args:
            warn: logs a line. It is called from one line of source for all objects, and rclpy
                raises where one line logs at two levels: a node with objects of two levels
                passes functions of its own, not methods of its logger.
            counted: see `Statistics`.

        """
        self._warn, self._counted = warn, counted
        self.begin()
        self._logged: OrderedDict[str, float] = OrderedDict()
        self._time = -LOG_EVERY

    def begin(self) -> None:
        """Count from 0, as an activated node does."""
        self.statistics = Statistics(self._counted)

    def add(self, kind: str, reason: str) -> None:
        """Note a reason. kind: what is counted, as 'refused boxes'."""
        reason = shorten(reason)
        self.statistics.record_problem(kind, reason)
        now, like = time.monotonic(), without_numbers(reason)
        if now - self._time < LOG_EVERY / 10:
            return
        if now - self._logged.get(like, -LOG_EVERY) < LOG_EVERY:
            return
        self._logged.pop(like, None)
        self._logged[like] = self._time = now
        if len(self._logged) > MOST_KINDS:
            self._logged.popitem(last=False)
        self._warn(reason)


def without_numbers(text: str) -> str:
    """Return what texts have in common that differ in their numbers alone."""
    return re.sub(r'[\d.]+', '#', text)


class Drops:
    """Counts images that were published but not received: lost, or replaced by a newer one.

    rclpy gives the publisher's sequence numbers from Iron on. Without them, or while a topic has
    several publishers, whose numbers cannot be told apart, nothing is counted.
    """

    def __init__(self, publishers: Callable[[], int]) -> None:
        """Ask `publishers` how many there are, only where numbers are missing."""
        self._publishers = publishers
        self._last: int | None = None

    def count_before(self, info: Mapping[str, Any]) -> int:
        """Return how many images were dropped between the last message and the one of `info`."""
        number = info.get('publication_sequence_number')
        last, self._last = self._last, number
        if number is None or last is None or number <= last + 1 or self._publishers() > 1:
            return 0
        return int(number - last - 1)


def shorten(reason: str) -> str:
    """Return a reason on one line of bounded length."""
    line = ' '.join(reason.split())
    return line if len(line) <= LONGEST else f'{line[:LONGEST]} ...'


@dataclass
class Health:
    """Level, message and values of a node's status on /diagnostics."""

    level: bytes
    summary: str
    values: dict[str, str] = field(default_factory=dict)


class NodeDiagnostics:
    """Publishes the status of a lifecycle node on /diagnostics, once a period.

    While the node is not active, the message is its failure, or else its lifecycle state.
    """

    def __init__(
        self,
        node: GuardedLifecycleNode,
        duty: str,
        describe: Callable[[], Health | None],
        refusals: Refusals,
    ) -> None:
        """Begin to publish.

        Args:
            node: whose status it is.
            duty: what it does, as 'tracking'; the name of the status is "NODE: DUTY".
            describe: returns the status of the active node, None while it is not active.
            refusals: counters and the last problem, which are published too.

        """
        self.hardware = ''
        """Engine or device that the node works with, the status's `hardware_id`."""
        self.standing: dict[str, str] = {}
        """Values that are published in every lifecycle state."""
        self._node, self._duty = node, duty
        self._describe, self._refusals = describe, refusals
        self._time = time.monotonic()
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._timer = node.steady_timer(1.0, self._publish)

    def set_period(self, seconds: float) -> None:
        """Publish once in so many seconds."""
        self._timer.timer_period_ns = int(seconds * 1e9)

    def _publish(self) -> None:
        node = self._node
        status = self._describe()
        values = {'lifecycle': node.state_label, **self.standing}
        values |= {'failure': node.failure} if node.failure else {}
        if status is None:
            level = DiagnosticStatus.ERROR if node.failure else DiagnosticStatus.OK
            status = Health(level, node.failure or node.state_label)
        values |= status.values
        elapsed = max(time.monotonic() - self._time, 1e-3)
        self._time += elapsed
        values |= self._refusals.statistics.report(elapsed)
        message = DiagnosticStatus(
            level=status.level,
            name=f'{node.get_fully_qualified_name().lstrip("/")}: {self._duty}',
            message=status.summary,
            hardware_id=self.hardware,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        array = DiagnosticArray(status=[message])
        array.header.stamp = node.get_clock().now().to_msg()
        self._publisher.publish(array)
