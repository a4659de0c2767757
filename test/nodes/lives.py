# SPDX-License-Identifier: Apache-2.0
"""Lifecycle steps for tests: bring the tracker node up or down, and check that it tracks."""

from __future__ import annotations

from lifecycle_msgs.msg import Transition
from talker import TARGET, Talker, truth

from hcat_ros.boxes import iou
from hcat_ros.message_data import box_of

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP


def check_tracking(talker: Talker) -> None:
    """Set a target on one frame and check that the next frame's track is on it."""
    talker.spin(talker.connected, 'connections')
    talker.send(0)
    talker.name_target(TARGET)
    talker.tracks.clear()
    talker.send(1)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track')
    assert iou(box_of(talker.tracks[0]), truth(1)) > 0.5


def bring_up_and_track(talker: Talker) -> None:
    """Configure and activate the node over its service, and check that it tracks."""
    for transition, state in ((CONFIGURE, 'inactive'), (ACTIVATE, 'active')):
        assert talker.change(transition), talker.tracker.failure
        assert talker.tracker.state_label == state
    check_tracking(talker)


def restart_and_track(talker: Talker) -> None:
    """Deactivate and clean up an active node, bring it up again and check that it tracks."""
    for transition, state in ((DEACTIVATE, 'inactive'), (CLEANUP, 'unconfigured')):
        assert talker.change(transition)
        assert talker.tracker.state_label == state
    bring_up_and_track(talker)


def wait_for_diagnostics(talker: Talker, level: bytes, words: str) -> None:
    """Wait for diagnostics of this level whose message contains these words."""

    def seen() -> bool:
        status = talker.diagnostics[-1].status[0] if talker.diagnostics else None
        return status is not None and status.level == level and words in status.message

    talker.spin(seen, f'diagnostics: {words}')
