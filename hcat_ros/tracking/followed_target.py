# SPDX-License-Identifier: Apache-2.0
"""A target with its tracker, and the rule for two targets that claim the same place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from hcat_ros.boxes import Box, iou
from hcat_ros.tracking.confidence import TargetState
from hcat_ros.tracking.target_requests import TargetRequest
from hcat_ros.tracking.tracker import Track, Tracker

SAME_PLACE = 0.5
"""Minimum IoU at which two targets claim the same place."""


class TargetTrack(NamedTuple):
    """A target's track in a frame."""

    track: Track
    target_id: str
    class_id: str


class FollowedTarget:
    """A target: its tracker, request, id and newest track."""

    def __init__(self, tracker: Tracker, request: TargetRequest, target_id: str) -> None:
        self.tracker = tracker
        self.request = request
        """Request that named the target."""
        self.id = target_id
        self.track: Track | None = None
        """Newest track, None before the first."""
        self.last_seen: Box | None = None
        """Box of the newest track that was not lost, None before the first."""
        self.skipped = 0
        """Number of frames since the target was last looked for."""
        self.jumped = False
        """Whether time has jumped since the target was last tracked; such a target is dropped when
        it is lost."""

    @property
    def place(self) -> Box:
        """Box of the newest track, or of the request before the first track."""
        return self.track.box if self.track else self.request.box

    @property
    def is_lost(self) -> bool:
        """Whether the newest track is lost."""
        return self.track is not None and self.track.state is TargetState.LOST

    def record(self, track: Track) -> None:
        """Store the newest track."""
        self.track = track
        if track.state is not TargetState.LOST:
            self.last_seen = track.box

    def named_track(self) -> TargetTrack:
        """Return the newest track with the target's id and class."""
        assert self.track is not None
        return TargetTrack(self.track, self.id, self.request.class_id)


def settle_claims(
    targets: Sequence[FollowedTarget], looked_for: Collection[FollowedTarget]
) -> None:
    """Leave each place to one target: the one with the highest smoothed share of its own score.

    Any other target that was found there in this frame, for example because it passes behind the
    first, returns to its previous box and becomes uncertain. The tracker searches around that box
    until it can tell the two targets apart again. Lost targets claim no place.

    looked_for: targets that have a track in this frame; only these are moved.
    """
    claimants = [target for target in targets if target.track is not None and not target.is_lost]
    # The sort is stable: of two equally certain targets, the one that was named first stays.
    claimants.sort(key=lambda target: -target.tracker.smoothed_share)
    claimed: list[Box] = []
    for target in claimants:
        assert target.track is not None
        if any(iou(target.track.box, box) >= SAME_PLACE for box in claimed):
            if target in looked_for:
                target.record(target.tracker.step_back())
        else:
            claimed.append(target.track.box)
