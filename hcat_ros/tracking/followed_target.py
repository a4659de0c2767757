# SPDX-License-Identifier: Apache-2.0
"""One of the targets that are followed, and two that claim the same place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from hcat_ros.boxes import Box, iou
from hcat_ros.tracking.confidence import TargetState
from hcat_ros.tracking.target_requests import TargetRequest
from hcat_ros.tracking.tracker import Track, Tracker

SAME_PLACE = 0.5
"""IoU from which two targets claim the same place."""


class TargetTrack(NamedTuple):
    """A target's track in a frame."""

    track: Track
    target_id: str
    class_id: str


class FollowedTarget:
    """A target: its tracker, its name, and where it was."""

    def __init__(self, tracker: Tracker, request: TargetRequest, target_id: str) -> None:
        self.tracker = tracker
        self.request = request
        """Request that named the target."""
        self.id = target_id
        self.track: Track | None = None
        """The newest one."""
        self.last_seen: Box | None = None
        """Place of the target when it was last not lost; None before."""
        self.skipped = 0
        """Frames in which it was not looked for, since the last one in which it was."""
        self.jumped = False
        """Whether time has jumped since it was last seen: then it is dropped once it is lost."""

    @property
    def place(self) -> Box:
        """Where it was last looked for."""
        return self.track.box if self.track else self.request.box

    @property
    def is_lost(self) -> bool:
        """Whether its newest track is lost."""
        return self.track is not None and self.track.state is TargetState.LOST

    def record(self, track: Track) -> None:
        """Take its newest track."""
        self.track = track
        if track.state is not TargetState.LOST:
            self.last_seen = track.box

    def named_track(self) -> TargetTrack:
        """Return its newest track with its name."""
        assert self.track is not None
        return TargetTrack(self.track, self.id, self.request.class_id)


def settle_claims(
    targets: Sequence[FollowedTarget], looked_for: Collection[FollowedTarget]
) -> None:
    """Leave each place to one target: the one that has looked most like itself lately.

    Another one that has come there in this frame, as one that passes behind it, goes back to where
    it was before and is uncertain: it is looked for around there until it can be told from the
    first again. Lost targets claim nothing.

    looked_for: those of the targets whose track is of this frame.
    """
    claiming = [one for one in targets if one.track is not None and not one.is_lost]
    # In order: where two are equally certain, who was named first stays.
    claiming.sort(key=lambda one: -one.tracker.smoothed_share)
    settled: list[Box] = []
    for one in claiming:
        assert one.track is not None
        if any(iou(one.track.box, box) >= SAME_PLACE for box in settled):
            if one in looked_for:
                one.record(one.tracker.step_back())
        else:
            settled.append(one.track.box)
