# SPDX-License-Identifier: Apache-2.0
"""Pairs images with the tracks of the same stamp, for showing both together."""

from __future__ import annotations

from typing import NamedTuple

from hcat_ros.select_page.view import ShownTrack
from hcat_ros.tracking.frame_buffer import FrameBuffer, StampedFrame

PATIENCE = 0.4
"""Seconds that images may wait for their tracks, when the last ones had one."""


class PairedFrame(NamedTuple):
    """A frame to show, with its tracks if it has some."""

    frame: StampedFrame
    track: ShownTrack | None
    """Track of the primary target."""
    others: tuple[ShownTrack, ...] = ()


class PairedFrames:
    """Keeps the last frames until the track of one of them is here.

    `add_frame` and `add_track` return what is to be shown from now on, None if nothing is new.
    Times are of a monotonic clock, seconds.
    """

    def __init__(self, max_bytes: int) -> None:
        self._buffer = FrameBuffer(max_bytes)
        self._shown = -1
        """Stamp of the last frame shown."""
        self._paired = -PATIENCE
        """When the last track met its frame."""

    def add_frame(self, frame: StampedFrame, now: float) -> PairedFrame | None:
        """Take the newest frame: shown at once unless a track for it is likely to come."""
        newest = self._buffer.newest
        if newest is not None and frame.stamp <= newest.stamp:
            self._shown = -1  # time has jumped back
        self._buffer.append(frame)
        if now - self._paired < PATIENCE:
            return None
        self._shown = frame.stamp
        return PairedFrame(frame, None)

    def add_track(
        self, stamp: int, track: ShownTrack, now: float, others: tuple[ShownTrack, ...] = ()
    ) -> PairedFrame | None:
        """Take tracks: they are shown with their frame, unless a later one was shown already."""
        frame = self._buffer.nearest(stamp)
        if frame is None or frame.stamp != stamp or stamp < self._shown:
            return None
        self._paired = now
        self._shown = stamp
        return PairedFrame(frame, track, others)

    def forget_track(self) -> None:
        """Show the next frame at once: there will be no more tracks."""
        self._paired = -PATIENCE

    def clear(self) -> None:
        """Forget all frames."""
        self._buffer.clear()
        self._shown = -1
        self.forget_track()
