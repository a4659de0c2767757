# SPDX-License-Identifier: Apache-2.0
"""The target's distance in depth images, and how the follower uses it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from yaw_loop import TICK, seen

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel, FollowConfig, Follower, box_in_depth, depth_in_box

BOX = Box(100.0, 60.0, 40.0, 80.0)
CONFIG = FollowConfig.ground().changed({'range_mode': 'depth', 'desired_range': 2.0})


def scene(background: float = 8.0) -> np.ndarray:
    return np.full((240, 320), background, np.float32)


def fill(depth: np.ndarray, box: Box, metres: float) -> np.ndarray:
    depth[int(box.y) : int(box.y + box.h), int(box.x) : int(box.x + box.w)] = metres
    return depth


def test_the_depth_is_that_of_the_target_not_of_the_background() -> None:
    found = depth_in_box(fill(scene(), BOX, 3.0), BOX)
    assert found.depth == pytest.approx(3.0)
    assert found.deviation == pytest.approx(0.03), 'a flat target: the sensor alone'


def test_a_thin_target_in_front_of_a_wall_gives_its_own_depth() -> None:
    """A lamp post covers two fifths of the middle of the box, the wall the rest."""
    found = depth_in_box(fill(scene(), Box(112.0, 60.0, 8.0, 80.0), 3.0), BOX)
    assert found.depth == pytest.approx(3.0)


def test_a_twig_in_front_of_the_target_is_ignored() -> None:
    depth = fill(fill(scene(), BOX, 3.0), Box(118.0, 60.0, 4.0, 80.0), 1.0)
    assert depth_in_box(depth, BOX).depth == pytest.approx(3.0)


@pytest.mark.parametrize('hole', [0.0, np.nan, np.inf, -1.0])
def test_pixels_without_depth_are_ignored(hole: float) -> None:
    depth = fill(scene(), BOX, 3.0)
    depth[::2] = hole
    assert depth_in_box(depth, BOX).depth == pytest.approx(3.0)


def test_noise_increases_the_deviation() -> None:
    rng = np.random.default_rng(0)
    depth = fill(scene(), BOX, 3.0) + rng.normal(0, 0.1, (240, 320))
    found = depth_in_box(depth, BOX)
    assert found.depth == pytest.approx(3.0, abs=0.02)
    assert found.deviation == pytest.approx(math.hypot(0.03, 0.1), rel=0.1)


def test_millimetres_and_a_large_box_give_the_same_depth() -> None:
    big = np.full((2160, 3840), 8000, np.uint16)
    box = Box(1000.0, 500.0, 1600.0, 1200.0)
    found = depth_in_box(fill(big, box, 3000), box, 0.001)
    assert found.depth == pytest.approx(3.0)
    assert found.pixels <= 4096


@pytest.mark.parametrize(
    ('depth', 'box', 'reason'),
    [
        (np.zeros((240, 320)), BOX, r'0 of \d+ pixels of the target have a depth'),
        (scene(), Box(400.0, 60.0, 40.0, 80.0), 'not in the depth image'),
        (scene(), Box(-90.0, 60.0, 40.0, 80.0), 'not in the depth image'),
    ],
)
def test_a_box_without_usable_depth_is_refused(depth: np.ndarray, box: Box, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        depth_in_box(depth, box)


def test_a_box_is_scaled_to_a_depth_image_of_half_the_size() -> None:
    assert box_in_depth(BOX, (640, 480), (320, 240)) == Box(50.0, 30.0, 20.0, 40.0)
    reason = 'depth is 848x480, the images are 640x480: align it'
    with pytest.raises(ValueError, match=reason):
        box_in_depth(BOX, (640, 480), (848, 480))


def test_an_off_axis_target_is_farther_away_than_its_depth() -> None:
    """Two metres ahead and as far to the right: the square root of eight."""
    camera = CameraModel.from_fov(640, 480, math.pi / 2)
    assert camera.distance(320, 240, 2.0) == pytest.approx(2.0)
    assert camera.distance(640, 240, 2.0) == pytest.approx(math.sqrt(8))


class Course:
    """A follower that stands still in front of a target straight ahead."""

    def __init__(self, config: FollowConfig = CONFIG) -> None:
        self.follower = Follower(config)
        self.follower.activate(0.0)
        self.now = 0.0

    def go(self, ticks: int, depth: float | None, size: float = 0.1, distance: float = 0.0) -> str:
        """Let ticks pass, each with a track and optionally a depth; return the last refusal.

        distance: of a target of 0.5 m, which sets the size of its box; 0: the box is `size` rad.
        """
        reason = ''
        for _ in range(ticks):
            self.now += TICK
            angle = 2 * math.atan(0.25 / distance) if distance else size
            self.follower.record_turning(self.now, 0.0, now=self.now)
            assert self.follower.track(seen(self.now - 0.01, size=angle), self.now) == ''
            if depth is not None:
                reason = self.follower.record_depth(self.now - 0.01, depth, 0.03, self.now)
        return reason

    @property
    def range(self) -> float:
        found = self.follower.target_range(self.now)
        return found.range if found else math.nan


def test_the_range_follows_the_depth() -> None:
    course = Course()
    assert math.isnan(course.range)
    assert course.go(20, 3.0) == ''
    assert course.range == pytest.approx(3.0, abs=0.02)
    assert course.follower.range_source == 'depth'
    found = course.follower.target_range(course.now)
    assert found is not None
    assert found.deviation < 0.05


def test_when_depth_ends_the_range_follows_the_size_of_the_box() -> None:
    """A target of 0.5 m at 3 m goes to 4.5 m while the sensor sees nothing."""
    course = Course()
    course.go(40, 3.0, distance=3.0)
    for step in range(1, 101):
        course.go(1, None, distance=3.0 + 1.5 * step / 100)
    assert course.follower.range_source == 'relative'
    assert course.range == pytest.approx(4.5, rel=0.05)


def test_a_known_size_gives_the_range_until_depth_arrives() -> None:
    course = Course(CONFIG.changed({'target_height': 0.5}))
    course.go(50, None, distance=3.0)
    assert course.follower.range_source == 'size'
    assert course.range == pytest.approx(3.0, rel=0.01)
    course.go(50, 3.3, distance=3.0)
    assert course.follower.range_source == 'depth'
    assert course.range == pytest.approx(3.3, rel=0.01), 'the size says 3 m, and counts no more'


def test_something_that_passes_in_front_is_not_the_target() -> None:
    course = Course()
    course.go(30, 3.0)
    assert '1.00 m where 3.0' in course.go(2, 1.0)
    assert course.range == pytest.approx(3.0, abs=0.05)
    assert course.go(1, 3.0) == ''
    course.go(CONFIG.confirmations, 1.0)
    assert course.range == pytest.approx(1.0, abs=0.05), 'it stays: it is where the target is'


@pytest.mark.parametrize('value', [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize('place', [0, 1, 2])
def test_an_invalid_depth_measurement_is_refused(value: float, place: int) -> None:
    course = Course()
    course.go(5, 3.0)
    values = [course.now, 3.0, 0.03]
    values[place] = value
    before = course.range
    if place == 0 and value in (0.0,):
        pytest.skip('a stamp of 0 is a time')
    assert course.follower.record_depth(*values, course.now) != ''
    assert course.range == before


def test_depth_without_a_track_in_another_mode_or_too_old_is_refused() -> None:
    fresh = Follower(CONFIG)
    fresh.activate(0.0)
    assert 'no image in which the target was tracked' in fresh.record_depth(0.0, 3.0, 0.1, 0.1)
    course = Course(FollowConfig.ground())
    course.go(5, None)
    assert course.follower.record_depth(course.now, 3.0, 0.1, course.now) == 'range_mode is none'
    course = Course()
    course.go(5, 3.0)
    old = course.follower.record_depth(course.now - 2.0, 3.0, 0.1, course.now)
    assert 'no image in which the target was tracked' in old
