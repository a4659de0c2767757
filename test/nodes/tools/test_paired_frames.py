# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.nodes.tools.paired_frames import PATIENCE, PairedFrames
from hcat_ros.select_page.view import ShownTrack
from hcat_ros.tracking.frame_buffer import StampedFrame

TRACK = ShownTrack(Box(1, 2, 3, 4), '1', 'target', 0.5)
BYTES = 100


def frame(stamp: int) -> StampedFrame:
    return StampedFrame(stamp, None, np.zeros(BYTES, np.uint8), '')


@pytest.fixture
def frames() -> PairedFrames:
    return PairedFrames(4 * BYTES)


def test_without_tracks_each_frame_is_shown_at_once(frames: PairedFrames) -> None:
    for stamp in (1, 2, 3):
        shown = frames.add_frame(frame(stamp), stamp / 30)
        assert shown is not None
        assert (shown.frame.stamp, shown.track) == (stamp, None)


def test_track_is_shown_with_its_own_frame_although_later_ones_arrived(
    frames: PairedFrames,
) -> None:
    for stamp in (1, 2, 3):
        frames.add_frame(frame(stamp), 0.0)
    assert frames.add_track(3, TRACK, 0.0) is not None
    assert frames.add_frame(frame(4), 0.03) is None
    assert frames.add_frame(frame(5), 0.06) is None
    shown = frames.add_track(4, TRACK, 0.07)
    assert shown is not None
    assert (shown.frame.stamp, shown.track) == (4, TRACK)


def test_tracks_of_other_targets_are_shown_with_the_primary(frames: PairedFrames) -> None:
    frames.add_frame(frame(1), 0.0)
    other = TRACK._replace(target_id='2')
    alone = frames.add_track(1, TRACK, 0.0)
    assert alone is not None
    assert (alone.track, alone.others) == (TRACK, ())
    shown = frames.add_track(1, TRACK, 0.0, (other,))
    assert shown is not None
    assert (shown.track, shown.others) == (TRACK, (other,))


def test_shown_frames_never_go_back_in_time(frames: PairedFrames) -> None:
    for stamp in (1, 2, 3):
        frames.add_frame(frame(stamp), 0.0)
    assert frames.add_track(2, TRACK, 0.0) is None  # as while a target catches up
    assert frames.add_track(3, TRACK, 0.0) is not None


def test_track_without_its_frame_shows_nothing(frames: PairedFrames) -> None:
    assert frames.add_track(1, TRACK, 0.0) is None
    for stamp in (10, 20, 30, 40, 50):
        frames.add_frame(frame(stamp), 0.0)
    assert frames.add_track(45, TRACK, 0.0) is None
    assert frames.add_track(10, TRACK, 0.0) is None


def test_frames_are_shown_again_when_tracks_stop(frames: PairedFrames) -> None:
    frames.add_frame(frame(1), 0.0)
    frames.add_track(1, TRACK, 0.0)
    assert frames.add_frame(frame(2), PATIENCE / 2) is None
    assert frames.add_frame(frame(3), PATIENCE) is not None
    frames.add_track(3, TRACK, PATIENCE)
    frames.forget_track()
    assert frames.add_frame(frame(4), PATIENCE) is not None


def test_jump_back_in_time_starts_over(frames: PairedFrames) -> None:
    frames.add_frame(frame(100), 0.0)
    frames.add_track(100, TRACK, 0.0)
    assert frames.add_frame(frame(5), 0.1) is None
    assert frames.add_track(5, TRACK, 0.1) is not None
