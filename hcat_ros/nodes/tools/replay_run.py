# SPDX-License-Identifier: Apache-2.0
"""Decides when each step of `replay.launch.py` may begin, and whether it ended well."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from hcat_ros.nodes.tools.replay_plan import ReplayPlan

QUIET = 3.0
"""Seconds without a track, once the bag has been played, after which none is waiting any more."""


class ReplayRun:
    """The steps of one replay: await the readers, play, await the last track, record, report."""

    def __init__(self, plan: ReplayPlan, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.tracks = 0
        """Number of tracks that have been published."""
        self._clock = clock
        self._started = self._last_track = clock()
        self._caught_up = False

    def note_track(self) -> None:
        """Count a track."""
        self.tracks += 1
        self._last_track = self._clock()

    def has_readers(self, subscribers: Callable[[str], Collection[str]]) -> bool:
        """Whether the tracker takes images and the recorder tracks, so that the bag may be played.

        subscribers: gives the full names of the nodes that subscribe to a topic. Raises
        RuntimeError when one is still missing after the plan's patience.
        """
        plan = self.plan
        for topic, name in ((plan.played, plan.node), (plan.track, '/rosbag2_recorder')):
            if name not in subscribers(topic):
                if self._clock() - self._started > plan.patience:
                    reason = f'{name} is not ready: it has not subscribed to {topic}'
                    raise RuntimeError(f'after {plan.patience:g} s {reason}')
                return False
        return True

    def end_playing(self, returncode: int) -> None:
        """Begin to wait for the tracks of the images that are still waiting.

        Raises RuntimeError if the player failed.
        """
        if returncode != 0:
            raise RuntimeError(f'ros2 bag play has ended with {returncode}')
        self._last_track = self._clock()

    def has_caught_up(self) -> bool:
        """Whether no more tracks come, so that the recording may end."""
        self._caught_up = self._clock() - self._last_track >= QUIET
        return self._caught_up

    def describe_tracks(self) -> str:
        """Return how many images have a track."""
        images = f'{self.plan.images} images on {self.plan.image}'
        hint = 'that with the init box has none; if more are missing, lower rate'
        return f'{self.tracks} tracks of {images} ({hint})'

    def end_recording(self, returncode: int) -> None:
        """Check that there is something to report on. Raises RuntimeError if there is not."""
        if not self._caught_up or not self.plan.recording.exists():
            raise RuntimeError(f'ros2 bag record has ended with {returncode}')
        if self.tracks == 0:
            raise RuntimeError('the tracker has sent no track: see what it says above')

    def end_report(self, returncode: int, successes: Collection[int]) -> None:
        """Check that there is a report. Raises RuntimeError if there is none.

        successes: exit codes of `hcat replay` that say that it has written one.
        """
        if returncode not in successes:
            raise RuntimeError(f'hcat replay has ended with {returncode}')
