# SPDX-License-Identifier: Apache-2.0
"""Keeps to one publisher of a topic that has several, whose messages DDS mixes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hcat_ros.tracking.stream import PATIENCE

MOST_AT_ONCE, MOST_A_SECOND = 2, 250
"""Messages by which the number of one publisher goes on at most."""


class OnePublisher:
    """Tells messages of the publisher that came first from those of others.

    A publisher numbers its messages one after the other; rclpy tells the numbers from Iron on, and
    where it does not, nobody counts as another one. Who has been silent for `PATIENCE` is gone.
    Times are of a monotonic clock, seconds.
    """

    def __init__(self, publishers: Callable[[], int]) -> None:
        """Ask `publishers` how many there are, only where the numbers do not go on."""
        self._publishers = publishers
        self._last: int | None = None
        self._time = 0.0

    def accepts(self, info: Mapping[str, Any], now: float) -> bool:
        """Return whether a message, of this info, is from the publisher that came first."""
        number, since = info.get('publication_sequence_number'), now - self._time
        if (
            number is not None
            and self._last is not None
            and since < PATIENCE
            and not 0 < number - self._last <= MOST_AT_ONCE + MOST_A_SECOND * since
            and self._publishers() > 1
        ):
            return False
        self._last, self._time = number, now
        return True
