# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.engines import EngineCard, EngineError, Prediction
from hcat_ros.tracking import TargetState, Tracker, TrackerConfig
from hcat_ros.tracking.frame_buffer import StampedFrame
from hcat_ros.tracking.session import TrackingSession
from hcat_ros.tracking.target_requests import TargetRequest

MIDDLE = Box(40, 40, 20, 20)


class StillEngine:
    """Finds the target in the middle of every search region; fails while `failing` is set."""

    card = EngineCard('still', 'double', '1', 'fp32', 128, 256, 16)
    score = 0.9
    failing = False

    def template(self, crop: np.ndarray) -> None:
        return None

    def search(self, crop: np.ndarray, features: None) -> Prediction:
        if self.failing:
            raise EngineError('out of order')
        boxes = np.tile([0.5, 0.5, 0.25, 0.25], (256, 1))
        return Prediction(np.full((16, 16), self.score), boxes)


class Harness:
    def __init__(self, **config: float) -> None:
        self.engine = StillEngine()
        self.problems: list[tuple[str, str]] = []
        tracker = Tracker(self.engine, TrackerConfig(**config))
        self.session = TrackingSession(
            tracker,
            10**7,
            0.01,
            lambda kind, reason: self.problems.append((kind, reason)),
            iter('abcdef'),
        )

    def frame(self, stamp: int) -> list[int]:
        """Add a frame; return the stamps of the tracked frames."""
        image = np.zeros((100, 100, 3), np.uint8)
        frame = StampedFrame(stamp, None, image, 'bgr8')
        return [tracked.frame.stamp for tracked in self.session.add_frame(frame)]

    def name(self, stamp: int = 0, box: Box = MIDDLE) -> list[int]:
        """Name a target; return the stamps of the tracked frames."""
        request = TargetRequest(box, stamp, 'target')
        return [tracked.frame.stamp for tracked in self.session.request(request)]


SECOND = 10**9


def test_frames_before_a_target_are_not_tracked() -> None:
    harness = Harness()
    assert harness.frame(1 * SECOND) == []
    assert harness.name() == []
    assert harness.frame(2 * SECOND) == [2 * SECOND]


def test_target_named_on_a_past_frame_catches_up() -> None:
    harness = Harness()
    for second in (1, 2, 3, 4):
        harness.frame(second * SECOND)
    assert harness.name(2 * SECOND) == [3 * SECOND, 4 * SECOND]


def test_frozen_frames_have_no_track_even_while_catching_up() -> None:
    harness = Harness()
    image = np.zeros((100, 100, 3), np.uint8)
    for second in range(1, 6):
        frame = StampedFrame(second * SECOND, None, image, 'bgr8', is_frozen=second > 2)
        list(harness.session.add_frame(frame))
    request = TargetRequest(MIDDLE, 1 * SECOND, 'target')
    found = list(harness.session.request(request))
    assert [tracked.track is None for tracked in found] == [False, True, True, True]
    frame = StampedFrame(6 * SECOND, None, image, 'bgr8', is_frozen=True)
    (tracked,) = harness.session.add_frame(frame)
    assert tracked.track is None


def test_a_refused_box_keeps_the_target_and_its_number() -> None:
    harness = Harness()
    harness.frame(1 * SECOND)
    harness.name()
    harness.name(box=Box(400, 40, 20, 20))
    assert harness.problems[0][0] == 'refused boxes'
    assert 'outside of the 100x100 frame' in harness.problems[0][1]
    assert harness.session.target_id == 'a'
    assert harness.frame(2 * SECOND) == [2 * SECOND]


def test_engine_failure_loses_only_that_frame() -> None:
    harness = Harness()
    harness.frame(1 * SECOND)
    harness.name()
    harness.engine.failing = True
    assert harness.frame(2 * SECOND) == []
    assert harness.problems == [('failed frames', 'frame not tracked: out of order')]
    harness.engine.failing = False
    assert harness.frame(3 * SECOND) == [3 * SECOND]


def test_engine_failure_on_the_template_refuses_the_init_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness()
    harness.frame(1 * SECOND)

    def template(crop: np.ndarray) -> None:
        raise EngineError('out of memory')

    monkeypatch.setattr(harness.engine, 'template', template)
    assert harness.name() == []
    assert harness.problems == [('refused boxes', 'init box refused: out of memory')]
    assert not harness.session.has_target


def test_session_wants_a_target_if_it_has_none_or_has_lost_it() -> None:
    harness = Harness(lost_threshold=0.5)
    session = harness.session
    assert session.wants_target
    harness.name(1 * SECOND)
    assert not session.wants_target, 'one waits for its frame'
    harness.frame(1 * SECOND)
    assert not session.wants_target
    harness.frame(2 * SECOND)
    harness.engine.score = 0.1
    for second in (3, 4):
        harness.frame(second * SECOND)
    assert session.track.state is TargetState.LOST
    assert session.wants_target
    session.reset()
    assert session.wants_target
    assert harness.frame(5 * SECOND) == []
