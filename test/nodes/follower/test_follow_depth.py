# SPDX-License-Identifier: Apache-2.0
"""The target's distance from depth images, over real DDS."""

from __future__ import annotations

import array
import struct
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from follow_talker import AHEAD, SIZE, FollowTalker, track_message
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel, FollowConfig, Follower
from hcat_ros.nodes.follower import depth as follower_depth
from hcat_ros.nodes.follower.depth import DepthInput, DepthTrack
from hcat_ros.nodes.images import depth_message

BACKGROUND = 8.0


def scene(distance: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a depth image: the target of `AHEAD` at this distance, m, in front of a wall."""
    depth = np.full(size[::-1], BACKGROUND, np.float32)
    depth[180:300, 290:350] = distance
    return depth


class DepthTalker:
    """Sends tracks with their depth images to a follower."""

    def __init__(self, talker: FollowTalker, transport: str = 'raw') -> None:
        self.talker = talker
        compressed = transport != 'raw'
        topic = 'depth/compressedDepth' if compressed else 'depth'
        kind = CompressedImage if compressed else Image
        self.publisher = talker.node.create_publisher(kind, topic, QoSProfile(depth=20))
        talker.spin(lambda: self.publisher.get_subscription_count() > 0, 'the subscription')

    def send(self, message: Any, off: float = 0.0, depth_first: bool = False) -> None:
        """Send a track stamped now, and the depth image stamped `off` s later."""
        talker = self.talker
        now = talker.follower.get_clock().now().nanoseconds
        track = track_message(AHEAD, Time(nanoseconds=now).to_msg())
        message.header.stamp = Time(nanoseconds=now + int(off * 1e9)).to_msg()
        message.header.frame_id = 'camera_optical_frame'
        if depth_first:
            self.publisher.publish(message)
            talker.spin_for(0.01)
        talker.tracks.publish(track)
        talker.spin_for(0.02)
        if not depth_first:
            self.publisher.publish(message)
            talker.spin_for(0.01)

    def until(self, done: Callable[[], bool], message: Any, **how: Any) -> None:
        """Send until a condition holds."""
        for _ in range(400):
            self.send(message, **how)
            if done():
                return
        raise AssertionError(f'never: {self.talker.follower.refusals.statistics.counts}')

    def distance(self) -> float:
        """Return the distance of the newest target_pose, m; 0 if there is none."""
        if not self.talker.poses:
            return 0.0
        position = self.talker.poses[-1].pose.position
        return float(np.hypot(np.hypot(position.x, position.y), position.z))


def depth_talker(follow: Callable[..., FollowTalker], **parameters: Any) -> DepthTalker:
    talker = follow(
        **{'range_mode': 'depth', 'start_on_hold': True, 'diagnostics_period': 0.2, **parameters}
    )
    talker.start()
    return DepthTalker(talker, parameters.get('depth_transport', 'raw'))


@pytest.mark.parametrize('depth_first', [False, True])
def test_pose_uses_the_depth_in_either_arrival_order(
    follow: Callable[..., FollowTalker], depth_first: bool
) -> None:
    depth = depth_talker(follow)
    message = depth_message(scene(3.0))
    depth.until(lambda: abs(depth.distance() - 3.0) < 0.05, message, depth_first=depth_first)
    values = depth.talker.wait_for_diagnostics('')
    assert values['range from'] == 'depth'
    assert int(values['depths']) > 0


def test_compressed_depth_in_millimetres(follow: Callable[..., FollowTalker]) -> None:
    depth = depth_talker(follow, depth_transport='compressedDepth')
    png = cv2.imencode('.png', (1000 * scene(2.5)).astype(np.uint16))[1].tobytes()
    data = array.array('B', struct.pack('<iff', 0, 0, 0) + png)
    message = CompressedImage(format='16UC1; compressedDepth png', data=data)
    depth.until(lambda: abs(depth.distance() - 2.5) < 0.05, message)


@pytest.mark.parametrize(
    ('message', 'off', 'reason'),
    [
        (depth_message(scene(3.0)), 30.0, r'no depth image has the stamp of a track'),
        (depth_message(np.ones((480, 848), np.float32)), 0.0, 'depth is 848x480, the images are'),
        (Image(width=640, height=480, encoding='rgb8', step=1920), 0.0, 'expected 16UC1'),
        (Image(width=640, height=480, encoding='16UC1', step=1280), 0.0, 'needs'),
        (Image(encoding='x' * 10**6), 0.0, 'encoding has 1000000 characters'),
        (depth_message(np.zeros((480, 640), np.float32)), 0.0, 'pixels of the target have a depth'),
    ],
)
def test_unusable_depth_is_reported_and_following_continues(
    follow: Callable[..., FollowTalker],
    message: Any,
    off: float,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follower_depth, 'SILENCE', 0.5)
    depth = depth_talker(follow)
    talker = depth.talker

    def told() -> bool:
        return bool(talker.diagnostics) and reason in talker.diagnostics[-1].status[0].message

    depth.until(told, message, off=off)
    assert talker.bearings, 'the target is followed all the same'
    assert depth.distance() == 0.0


def test_missing_depth_images_are_reported(
    follow: Callable[..., FollowTalker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_depth, 'SILENCE', 0.5)
    talker = follow(range_mode='depth', start_on_hold=True, diagnostics_period=0.2)
    talker.start()
    talker.stream(1.0)
    assert 'no depth image' in talker.wait_for_diagnostics('/depth: ')['message']


def test_range_mode_changes_live(follow: Callable[..., FollowTalker]) -> None:
    talker = follow(start_on_hold=True, diagnostics_period=0.2)
    talker.start()
    assert talker.node.count_subscribers('depth') == 0
    assert talker.set('range_mode', 'depth').successful
    depth = DepthTalker(talker)
    depth.until(lambda: abs(depth.distance() - 3.0) < 0.05, depth_message(scene(3.0)))
    assert talker.set('range_mode', 'none').successful
    talker.spin(lambda: talker.node.count_subscribers('depth') == 0, 'no subscription any more')
    talker.spin(lambda: 'range from' not in talker.wait_for_diagnostics(''), 'no range')


class Waiting:
    """A depth input that records the stamps of its ranges; 30 images and tracks a second."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self.refused: list[str] = []
        self._camera = CameraModel.from_fov(*SIZE, 1.2)
        self._input = DepthInput(
            0.01,
            lambda stamp, *values: self.found.append(stamp),
            lambda kind, reason: self.refused.append(reason),
        )

    def problems(self) -> list[str]:
        return self._input.problems('/depth')

    def add_image(self, number: float, like: Image) -> None:
        image = Image(height=like.height, width=like.width, encoding=like.encoding, step=like.step)
        image.header.stamp, image.data = Time(seconds=number / 30).to_msg(), like.data
        self._input.add_image(image)

    def add_track(self, number: int) -> None:
        self._input.add_track(DepthTrack(number / 30, AHEAD, self._camera))


@pytest.mark.parametrize(
    ('size', 'most'),
    [((64, 48), follower_depth.MOST_TRACKS), (SIZE, follower_depth.MOST_BYTES // (640 * 480 * 4))],
    ids=['by their number', 'by their bytes'],
)
def test_waiting_depth_images_are_bounded(size: tuple[int, int], most: int) -> None:
    """Images arrive for a hundred seconds without tracks; later tracks find the latest images."""
    waiting, image = Waiting(), depth_message(scene(3.0, size))
    for number in range(3000):
        waiting.add_image(number, image)
    huge = Image(width=1, height=1, encoding='16UC1', step=2)
    huge.data = array.array('B', bytes(follower_depth.MOST_BYTES + 1))
    waiting.add_image(3000, huge)
    assert len(waiting.refused) == 1
    for number in range(3001):  # in order, because a found image drops the older ones
        waiting.add_track(number)
    assert len(waiting.found) == most
    assert waiting.found[-1] == pytest.approx(2999 / 30)


def test_waiting_tracks_are_bounded() -> None:
    """Tracks arrive for a hundred seconds without a depth image."""
    waiting, image = Waiting(), depth_message(scene(3.0, (64, 48)))
    for number in range(3000):
        waiting.add_track(number)
    for number in range(3000):
        waiting.add_image(number, image)
    assert len(waiting.found) == follower_depth.MOST_TRACKS
    assert waiting.found[-1] == pytest.approx(2999 / 30)


def test_depth_range_sets_pose_transform_and_marker(
    follow: Callable[..., FollowTalker],
) -> None:
    """The target is 3 m ahead: along x of the camera's body frame, along z of its optical frame."""
    depth = depth_talker(follow, target_frame='target')
    talker = depth.talker
    poses: list[PoseWithCovarianceStamped] = []
    transforms: list[TFMessage] = []
    markers: list[MarkerArray] = []
    for kind, topic, into in (
        (PoseWithCovarianceStamped, 'target_pose_with_covariance', poses),
        (TFMessage, '/tf', transforms),
        (MarkerArray, 'target_markers', markers),
    ):
        talker.node.create_subscription(kind, topic, into.append, QoSProfile(depth=20))
    message = depth_message(scene(3.0))
    depth.until(lambda: abs(depth.distance() - 3.0) < 0.05 and bool(markers), message)
    place = poses[-1].pose.pose.position
    assert poses[-1].header.frame_id == 'camera_optical_frame'
    assert (place.x, place.y, place.z) == pytest.approx((0.0, 0.0, 3.0), abs=0.1)
    variance = np.diag(np.reshape(poses[-1].pose.covariance, (6, 6)))[:3]
    assert variance.tolist() == pytest.approx([0.0, 0.0, 0.0], abs=0.1)
    assert (variance > 0).all()
    (transform,) = transforms[-1].transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ('camera_frame', 'target')
    assert transform.transform.translation.x == pytest.approx(3.0, abs=0.1)
    body, label = markers[-1].markers
    # 60 x 120 pixels at 500 pixels focal length.
    assert body.scale.x == pytest.approx(3 * 60 / 500, rel=0.1)
    assert body.scale.z == pytest.approx(3 * 120 / 500, rel=0.1)
    assert label.text == '1 3.0 m'


def test_without_target_frame_no_transform_is_published(
    follow: Callable[..., FollowTalker],
) -> None:
    depth = depth_talker(follow)
    depth.until(lambda: depth.distance() > 0, depth_message(scene(3.0)))
    assert depth.talker.node.count_publishers('/tf') == 0
    assert depth.talker.node.count_publishers('target_markers') == 1


def test_missing_depth_is_not_reported_once_tracks_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = DepthInput(0.02, lambda *values: None, lambda kind, reason: None)
    waiting.add_track(DepthTrack(1.0, AHEAD, CameraModel.from_fov(*SIZE, 1.2)))
    began = time.monotonic()
    for seconds, problems in ((0.0, 0), (follower_depth.SILENCE + 1.0, 0)):
        monkeypatch.setattr(time, 'monotonic', lambda now=began + seconds: now)
        assert len(waiting.problems('/depth')) == problems
    waiting.add_track(DepthTrack(2.0, AHEAD, CameraModel.from_fov(*SIZE, 1.2)))
    assert waiting.problems('/depth') == ['/depth: no depth image for 2 s']


def mutated(rng: np.random.Generator, width: int, height: int) -> Image | CompressedImage:
    """Return a depth image in which some fields may be invalid."""

    def maybe(value: Any, *others: Any) -> Any:
        return others[rng.integers(len(others))] if others and rng.random() < 0.25 else value

    encoding = maybe('16UC1', '32FC1', '', 'rgb8', 'x' * 1000, '16UC3')
    size = 4 if encoding == '32FC1' else 2
    pixels = rng.integers(0, 256, height * width * size, np.uint8).tobytes()
    if rng.random() < 0.3:
        kind = maybe('16UC1; compressedDepth png', '32FC1; compressedDepth', '; ', 'jpeg', '')
        png = cv2.imencode('.png', rng.integers(0, 9999, (height, width), np.uint16))[1].tobytes()
        data = bytearray(struct.pack('<iff', 0, *rng.normal(0, 100, 2)) + png)
        for place in rng.integers(0, len(data), maybe(0, 3, 30)):
            data[place] = rng.integers(256)
        return CompressedImage(format=kind, data=array.array('B', data[: maybe(None, 5, 40)]))
    message = Image(
        height=maybe(height, 0, 2**32 - 1, 4000), width=maybe(width, 0, 2**32 - 1, 4000)
    )
    message.encoding, message.is_bigendian = encoding, int(rng.integers(0, 3))
    message.step = maybe(width * size, 0, 1, 2**32 - 1, width * size + 3)
    message.data = array.array('B', pixels[: maybe(None, 0, 7)])
    return message


def test_5000_mutated_depth_images_are_refused_or_give_a_valid_range() -> None:
    """Each image is refused with a reason or gives a range that the follower accepts."""
    rng = np.random.default_rng(0)
    found: list[tuple[float, float, float]] = []
    refused: list[str] = []
    waiting = DepthInput(
        0.02, lambda *values: found.append(values), lambda kind, reason: refused.append(reason)
    )
    for number in range(5000):
        width, height = rng.integers(1, 40, 2).tolist()
        camera = CameraModel.from_fov(width, height, 1.2)
        box = Box(*rng.uniform(-10, 30, 2), *rng.uniform(0, 30, 2))
        waiting.add_track(DepthTrack(float(number), box, camera))
        message = mutated(rng, width, height)
        message.header.stamp = Time(seconds=number).to_msg()
        waiting.add_image(message)
    assert len(found) + len(refused) == 5000
    assert len(found) > 100
    assert len(refused) > 1000
    assert all(len(reason) < 500 for reason in refused)
    follower = Follower(FollowConfig.ground().changed({'range_mode': 'depth'}))
    follower.activate(0.0)
    for stamp, distance, deviation in found:
        follower.record_depth(stamp, distance, deviation, stamp)
    assert follower.command(6000.0).is_zero


def test_the_smallest_difference_of_stamps_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: 100.0)
    monkeypatch.setattr(follower_depth, 'time', clock)
    waiting, image = Waiting(), depth_message(scene(3.0))
    clock.monotonic = lambda: 100.0 + follower_depth.SILENCE
    for number in range(3):
        waiting.add_track(number)
        waiting.add_image(number + 0.6, image)  # 20 ms after its track, 13 ms before the next
    (problem,) = waiting.problems()
    assert 'the nearest misses by 0.013 s' in problem
