# SPDX-License-Identifier: Apache-2.0
"""From tracks to motion: the one class that a node or a simulation drives."""

from __future__ import annotations

from hcat_ros.following.bearing_filter import Bearing
from hcat_ros.following.command import Command
from hcat_ros.following.config import FollowConfig
from hcat_ros.following.measurement import BearingMeasurement
from hcat_ros.following.range_filter import Range


class Follower:
    """Turns tracks into commands. All times in seconds, of the clock that the stamps are on.

    `activate(now)` once, `track(measurement, now)` for each track that arrives, `command(now)` at
    a steady rate. Nothing that comes in raises: what is refused stops the platform.
    """

    def __init__(self, config: FollowConfig) -> None:
        self.config = config

    def configure(self, config: FollowConfig) -> None:
        """Change gains and limits while following; another platform or range mode starts anew."""
        raise NotImplementedError

    def activate(self, now: float) -> None:
        """Allow commands, from the first track on whose image is not older than `now`."""
        raise NotImplementedError

    def deactivate(self) -> None:
        """Command nothing but zero, and forget the target."""
        raise NotImplementedError

    def hold(self, on: bool) -> None:
        """Stand still at once while on; tracks are still followed by the filter."""
        raise NotImplementedError

    def track(self, measurement: BearingMeasurement | None, now: float) -> str:
        """Take a track that has arrived, None for one that says that the target is lost.

        Returns why it was refused, '' if it was taken.
        """
        raise NotImplementedError

    def turned(self, time: float, yaw_rate: float, pitch_rate: float = 0.0) -> None:
        """Take measured turning (odometry, gyroscope: rad/s), better than what was commanded."""
        raise NotImplementedError

    def command(self, now: float) -> Command:
        """Return what to do now."""
        raise NotImplementedError

    def bearing(self, time: float) -> Bearing | None:
        """Return where the target is seen from the camera at a time, None if not known."""
        raise NotImplementedError

    def target_range(self, time: float) -> Range | None:
        """Return how far the target is at a time, None if not known."""
        raise NotImplementedError
