# SPDX-License-Identifier: Apache-2.0
"""Accepts the messages of only one publisher on a topic that has several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hcat_ros.tracking.stream import PATIENCE

MOST_AT_ONCE, MOST_A_SECOND = 2, 250
"""Largest step in one publisher's sequence numbers: at once, and more for each second passed."""


class OnePublisher:
    """Separates messages of the publisher that came first from those of other publishers.

    A publisher numbers its messages consecutively. rclpy provides the numbers since Iron; without
    them all messages are accepted. A publisher that is silent for `PATIENCE` counts as gone.
    Times are in seconds of a monotonic clock.
    """

    def __init__(self, publishers: Callable[[], int]) -> None:
        """Call `publishers` for the number of publishers, but only if a sequence number jumps."""
        self._publishers = publishers
        self._last: int | None = None
        self._time = 0.0

    def accepts(self, info: Mapping[str, Any], now: float) -> bool:
        """Return whether the message with this info is from the publisher that came first."""
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
