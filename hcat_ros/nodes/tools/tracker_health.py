# SPDX-License-Identifier: Apache-2.0
"""Describes the state of a tracker node to people, from its tracks and diagnostics."""

from __future__ import annotations

from collections.abc import Mapping

FRESH = 1.0
"""Seconds after a track for which there counts as being a target."""
IMAGE_LIMIT = 2.0
"""Seconds without an image after which the state is no image."""


class TrackerHealth:
    """Sums up a tracker's tracks, its diagnostics and the images as a state and an explanation.

    Times are seconds of a monotonic clock.
    """

    def __init__(self, tracker: str) -> None:
        """Take the tracker's full name."""
        self.tracker = tracker
        self.problem = ''
        """Why the tracker refused the last box, empty if it did not."""
        self._report_name = f'{tracker.lstrip("/")}: tracking'
        self._summary = ''
        self._lifecycle = ''
        self._refused: int | None = None
        self._found = False
        self._track_time = -FRESH
        self._image_time: float | None = None

    def expect_images(self, now: float | None) -> None:
        """Begin to wait for images; with None, wait no more."""
        self._image_time = now

    def record_image(self, now: float) -> None:
        """Note an image."""
        self._image_time = now

    def record_track(self, found: bool, now: float) -> None:
        """Note a track; found: whether the target is in it."""
        self._found, self._track_time = found, now

    def forget_track(self) -> None:
        """Note that the target has been dropped."""
        self._track_time = -FRESH
        self._summary = 'no target'

    def forget_problem(self) -> None:
        """Clear the problem, because another box is about to be sent."""
        self.problem = ''

    def record_report(self, name: str, summary: str, values: Mapping[str, str]) -> bool:
        """Take a status of /diagnostics. Returns whether it is this tracker's."""
        if name != self._report_name:
            return False
        self._summary = summary
        self._lifecycle = values.get('lifecycle', 'active')
        refused = values.get('refused boxes', '0')
        # The message comes from outside: int() raises for more than 4300 digits.
        count = int(refused) if refused.isdecimal() and len(refused) < 20 else 0
        # The first report counts boxes that others have sent.
        if self._refused is not None and count > self._refused:
            self.problem = values.get('last problem', 'the tracker refused the box')
        self._refused = count
        return True

    def state(self, now: float, there: bool, topic: str, published: bool) -> tuple[str, str]:
        """Return the state in a word or two, and a line that explains it.

        there: whether the tracker is in ROS's graph; published: whether anybody publishes the
        image topic.
        """
        if not there:
            return 'no tracker', f'no node {self.tracker} is running'
        silent = 0.0 if self._image_time is None else now - self._image_time
        if silent > IMAGE_LIMIT:
            who = '' if published else ': nobody publishes it'
            return 'no image', f'none on {topic} for {silent:.0f} s{who}'
        if self._lifecycle not in ('', 'active'):
            return 'inactive', self._summary
        # The summary reads 'tracking; why something was refused lately'.
        target, _, beside = self._summary.partition('; ')
        target = target.removeprefix('target ')
        if target.startswith('engine failing'):
            return 'engine failing', target.removeprefix('engine failing').lstrip(': ')
        if now - self._track_time < FRESH:
            if target not in ('tracking', 'lost', 'no target', ''):
                beside = self._summary
            return ('tracking' if self._found else 'lost'), beside
        if not target:
            return 'starting', 'waiting for the tracker to report'
        if target.startswith('no image'):
            return 'no image', f'the tracker gets none: {target}'
        # The diagnostics still say tracking, but no tracks have come for a while.
        return ('no target' if target == 'tracking' else target), beside
