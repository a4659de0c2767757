# SPDX-License-Identifier: Apache-2.0
"""Decides when each step of `replay.launch.py` may begin, and whether it ended well."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from hcat_ros.nodes.tools.replay_plan import ReplayPlan

QUIET = 3.0
"""Seconds without a track after which a replay has caught up, once the bag has been played."""


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
        """Return whether tracker and recorder have subscribed, so that the bag may be played.

        subscribers: returns the full names of the nodes that subscribe to a topic. Raises
        RuntimeError if one is still missing after the plan's patience.
        """
        plan = self.plan
        for topic, name in ((plan.played, plan.node), (plan.track, '/rosbag2_recorder')):
            if name not in subscribers(topic):
                if self._clock() - self._started > plan.patience:
                    raise RuntimeError(
                        f'after {plan.patience:g} s {name} is not ready: it has not subscribed to '
                        f'{topic}'
                    )
                return False
        return True

    def end_playing(self, returncode: int) -> None:
        """Begin to wait for the tracks of the images that are still in the tracker's queue.

        Raises RuntimeError if the player failed.
        """
        if returncode != 0:
            raise RuntimeError(f'ros2 bag play ended with exit code {returncode}')
        self._last_track = self._clock()

    def has_caught_up(self) -> bool:
        """Return whether tracks have stopped coming, so that the recording may end."""
        self._caught_up = self._clock() - self._last_track >= QUIET
        return self._caught_up

    def describe_tracks(self) -> str:
        """Return a line with the numbers of tracks and images."""
        return (
            f'{self.tracks} tracks of {self.plan.images} images on {self.plan.image} (the image '
            'with the init box has none; if more are missing, lower rate)'
        )

    def end_recording(self, returncode: int) -> None:
        """Check that there is something to report on. Raises RuntimeError if there is not."""
        if not self._caught_up or not self.plan.recording.exists():
            raise RuntimeError(f'ros2 bag record ended with exit code {returncode}')
        if self.tracks == 0:
            raise RuntimeError('the tracker has sent no track; its messages above may say why')

    def end_report(self, returncode: int, successes: Collection[int]) -> None:
        """Check that a report was written. Raises RuntimeError if it was not.

        successes: exit codes with which `hcat replay` ends after it has written the report.
        """
        if returncode not in successes:
            raise RuntimeError(f'hcat replay ended with exit code {returncode}')
