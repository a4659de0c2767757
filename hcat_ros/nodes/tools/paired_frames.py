# SPDX-License-Identifier: Apache-2.0
"""Pairs images with the tracks of the same stamp, to show both together."""

from __future__ import annotations

from typing import NamedTuple

from hcat_ros.select_page.view import ShownTrack
from hcat_ros.tracking.frame_buffer import FrameBuffer, StampedFrame

PATIENCE = 0.4
"""Seconds after a paired track for which new images wait for their tracks."""


class PairedFrame(NamedTuple):
    """A frame to show, with its tracks if it has some."""

    frame: StampedFrame
    track: ShownTrack | None
    """Track of the primary target."""
    others: tuple[ShownTrack, ...] = ()


class PairedFrames:
    """Keeps the last frames until the track of one of them arrives.

    `add_frame` and `add_track` return the frame to show from now on, or None to keep the last one.
    Times are seconds of a monotonic clock.
    """

    def __init__(self, max_bytes: int) -> None:
        self._buffer = FrameBuffer(max_bytes)
        self._shown = -1
        """Stamp of the last frame shown."""
        self._paired = -PATIENCE
        """Time at which a track was last paired with its frame."""

    def add_frame(self, frame: StampedFrame, now: float) -> PairedFrame | None:
        """Add the newest frame; return it at once unless a track for it is likely to come."""
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
        """Add tracks; return them with their frame unless a later frame was shown already."""
        frame = self._buffer.nearest(stamp)
        if frame is None or frame.stamp != stamp or stamp < self._shown:
            return None
        self._paired = now
        self._shown = stamp
        return PairedFrame(frame, track, others)

    def forget_track(self) -> None:
        """Let the next frame be shown at once, because no more tracks will come."""
        self._paired = -PATIENCE

    def clear(self) -> None:
        """Forget all frames."""
        self._buffer.clear()
        self._shown = -1
        self.forget_track()
