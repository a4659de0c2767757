# SPDX-License-Identifier: Apache-2.0
"""Publishes a node's state, counters and timings on /diagnostics."""

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
"""Number of samples that percentiles are computed from: 10 s at 30 fps."""
LATELY = 5.0
"""Seconds for which a problem makes the status a warning."""
LOG_EVERY = 5.0
"""Seconds between log lines about the same recurring problem."""
MOST_KINDS = 50
"""Number of reasons whose last log time is remembered."""
LONGEST = 400
"""Maximum length of a reason in characters, because some reasons quote an input of any length."""


class Statistics:
    """Counters since construction, recent durations, and rates since the last report."""

    def __init__(self, counted: Sequence[str] = ()) -> None:
        """Start at 0. counted: counters published from the start, so that plots have a baseline."""
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
        """Record a duration."""
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
        """Return the median of the recent durations of this name in seconds, None without any."""
        samples = self._samples.get(name)
        return float(np.median(samples)) if samples else None

    @property
    def problem_lately(self) -> str:
        """The last problem if it is less than `LATELY` seconds old, otherwise empty."""
        return self.last_problem if time.monotonic() - self._problem_time < LATELY else ''

    def report(self, period: float) -> dict[str, str]:
        """Return all values as text; rates cover the `period` in seconds since the last report."""
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
    """Counts refused inputs and logs the reasons at a limited rate.

    Reasons that differ only in numbers are logged at most once in `LOG_EVERY` seconds, and all
    reasons together at most once in `LOG_EVERY` / 10. The others are counted but not logged.
    """

    def __init__(self, warn: Callable[[str], None], counted: Sequence[str] = ()) -> None:
        """Start to count.

        Args:
            warn: function that logs a line. All objects call it from the same source line, and
                rclpy raises an error if one source line logs at two levels: a node whose objects
                log at different levels passes its own functions, not methods of its logger.
            counted: see `Statistics`.

        """
        self._warn, self._counted = warn, counted
        self.begin()
        self._logged: OrderedDict[str, float] = OrderedDict()
        self._time = -LOG_EVERY

    def begin(self) -> None:
        """Reset the counters to 0, as a node does when it is activated."""
        self.statistics = Statistics(self._counted)

    def add(self, kind: str, reason: str) -> None:
        """Count a refusal and log its reason. kind: name of the counter, e.g. 'refused boxes'."""
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
    """Return the text with '#' for each number, to compare texts apart from their numbers."""
    return re.sub(r'[\d.]+', '#', text)


class Drops:
    """Counts images that were published but lost, or replaced by a newer one, before they arrived.

    The count needs the publisher's sequence numbers, which rclpy provides since Iron. Nothing is
    counted without them or while a topic has several publishers, which number independently.
    """

    def __init__(self, publishers: Callable[[], int]) -> None:
        """Call `publishers` for the number of publishers, but only if numbers are missing."""
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

    While the node is not active, the status message is its failure if it has one, otherwise its
    lifecycle state.
    """

    def __init__(
        self,
        node: GuardedLifecycleNode,
        duty: str,
        describe: Callable[[], Health | None],
        refusals: Refusals,
    ) -> None:
        """Start to publish.

        Args:
            node: the node that the status describes.
            duty: what the node does, such as 'tracking'; the status is named "NODE: DUTY".
            describe: returns the status of the active node, None while it is not active.
            refusals: counters and the last problem, which are also published.

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
        """Set the time between two messages."""
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
