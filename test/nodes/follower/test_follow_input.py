# SPDX-License-Identifier: Apache-2.0
"""Inconsistent inputs: the platform stands still and diagnostics give the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from follow_talker import AHEAD, LEFT, RELIABLE, FollowTalker, camera_info, is_zero, track_message
from geometry_msgs.msg import PointStamped
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import Box
from hcat_ros.nodes.qos import LATCHED_QOS

Follow = Callable[..., FollowTalker]
WARN = b'\1'


def send_view(talker: FollowTalker, width: int, height: int) -> Any:
    """Publish the size of the images as the tracker does; return the publisher."""
    views = talker.node.create_publisher(CameraInfo, 'track_view', LATCHED_QOS)
    message = CameraInfo(width=width, height=height)
    message.header.frame_id = 'camera_optical_frame'
    views.publish(message)
    talker.wait_for_diagnostics(f'images are {width}x{height}')
    return views


def test_tracks_in_images_of_half_the_size_give_correct_bearings(follow: Follow) -> None:
    """A box at 160 of 320 px is ahead; without scaling to 640 px it would be far to the left."""
    talker = follow(diagnostics_period=0.2, yaw__dead_band=0.02)
    talker.start()
    half = Box.from_center(160, 120, 30, 60)
    views = send_view(talker, 320, 240)
    talker.stream(1.0, half)
    assert talker.bearings
    assert abs(talker.last['yaw']) < 0.02
    values = talker.wait_for_diagnostics(
        'images are 320x240, camera_info says 640x480: scaled to the images'
    )
    assert values['level'] == WARN
    talker.node.destroy_publisher(views)


def test_images_of_another_aspect_ratio_keep_the_platform_still(follow: Follow) -> None:
    talker = follow(diagnostics_period=0.2)
    talker.start()
    views = send_view(talker, 640, 360)
    talker.stream(0.8, LEFT)
    assert all(is_zero(message) for _, message in talker.commands)
    assert (
        talker.wait_for_diagnostics('images are 640x360, camera_info says 640x480')['level'] == WARN
    )
    talker.node.destroy_publisher(views)


def test_track_view_without_a_size_is_refused_and_following_continues(follow: Follow) -> None:
    talker = follow()
    talker.start()
    assert talker.follow(LEFT, 'yaw') > 0
    views = talker.node.create_publisher(CameraInfo, 'track_view', LATCHED_QOS)
    views.publish(CameraInfo())
    counts = talker.follower.refusals.statistics.counts
    talker.spin(lambda: counts['refused views'] == 1, 'the refusal')
    problem = talker.follower.refusals.statistics.last_problem
    assert problem.startswith('track_view refused: its images are 0x0: expected')
    assert talker.follower.state_label == 'active'
    assert talker.follow(LEFT, 'yaw') > 0
    talker.node.destroy_publisher(views)


def test_refused_camera_info_keeps_the_platform_still_and_is_reported(follow: Follow) -> None:
    talker = follow(diagnostics_period=0.2)
    talker.follower.start()
    talker.spin(talker.connected, 'connections')
    broken = camera_info()
    broken.k = [0.0] * 9
    for _ in range(3):
        talker.infos.publish(broken)
        talker.stream(0.3, LEFT)
    words = 'camera_info refused: k is all zeros: the camera is not calibrated'
    assert talker.wait_for_diagnostics(words)['level'] == WARN
    assert all(is_zero(message) for _, message in talker.commands)
    talker.infos.publish(camera_info())
    assert talker.follow(LEFT, 'yaw') > 0


def test_platform_stops_while_two_cameras_alternate(follow: Follow) -> None:
    talker = follow(diagnostics_period=0.2)
    talker.start()
    assert talker.follow(LEFT, 'yaw') > 0
    other = camera_info()
    other.width, other.height, other.k[2], other.k[5] = 1280, 960, 640.0, 480.0
    for number in range(12):
        talker.infos.publish(other if number % 2 else camera_info())
        talker.stream(0.1, LEFT)
    assert is_zero(talker.commands[-1][1])
    assert (
        talker.wait_for_diagnostics('camera_info alternates between 640x480 and 1280x960')['level']
        == WARN
    )
    for _ in range(12):
        talker.infos.publish(camera_info())
        talker.stream(0.1, LEFT)
    assert talker.last['yaw'] > 0


def test_second_tracker_is_ignored_and_reported(follow: Follow) -> None:
    """Diagnostics name both, and the follower keeps to the target of the first tracker."""
    talker = follow(diagnostics_period=0.2)
    other = talker.node.create_publisher(Detection2D, 'track', RELIABLE)
    for _ in range(500):  # sequence numbers of a publisher that has run for longer
        other.publish(track_message(AHEAD, Time().to_msg()))
    talker.start()
    talker.spin(lambda: other.get_subscription_count() > 0, 'the second tracker')
    talker.follow(LEFT, 'yaw')
    for _ in range(30):
        talker.send(LEFT)
        now = talker.follower.get_clock().now().to_msg()
        other.publish(track_message(Box.from_center(600, 240, 60, 120), now, target='2'))
        talker.spin_for(1 / 30)
        assert talker.last['yaw'] > 0
    assert talker.wait_for_diagnostics('/track has 2 publishers, /talker, /talker')['level'] == WARN


def test_frozen_image_stops_the_platform_at_once(follow: Follow) -> None:
    talker = follow(diagnostics_period=0.2)
    talker.start()
    talker.follow(LEFT, 'yaw')
    for _ in range(8):
        talker.send(Box(0, 0, 0, 0), lost=True)
        talker.spin_for(1 / 30)
    assert is_zero(talker.commands[-1][1])
    talker.send(Box(0, 0, 0, 0), lost=True)
    assert (
        'the tracker gets no new image' in talker.wait_for_diagnostics('standing still')['message']
    )
    assert talker.follow(LEFT, 'yaw') > 0, 'and goes on with the next one'


@pytest.mark.parametrize(
    ('frame_id', 'used', 'words'),
    [
        ('/camera', 'camera', "frame_id 'camera' has no _optical in it"),
        ('', 'base_link', 'the tracks have no frame_id'),
        ('/front_optical_frame', 'front_frame', ''),
    ],
)
def test_frame_ids_are_valid_tf_names(follow: Follow, frame_id: str, used: str, words: str) -> None:
    talker = follow(diagnostics_period=0.2)
    talker.start()
    for _ in range(10):
        now = talker.follower.get_clock().now().to_msg()
        message = track_message(LEFT, now)
        message.header.frame_id = frame_id
        talker.tracks.publish(message)
        talker.spin_for(1 / 30)
    talker.spin(lambda: bool(talker.bearings), 'a bearing')
    assert talker.bearings[-1].header.frame_id == used
    talker.stream(0.1)
    if words:
        assert talker.wait_for_diagnostics(words)['level'] == WARN


def test_camera_slower_than_stale_timeout_is_reported(follow: Follow) -> None:
    talker = follow(diagnostics_period=0.2, stale_timeout=0.2)
    talker.start()
    for _ in range(6):
        talker.send(LEFT)
        talker.spin_for(0.4)
    values = talker.wait_for_diagnostics('longer than stale_timeout (0.2 s)')
    assert 'tracks come every 0.4' in values['message']


def test_input_of_the_wrong_message_type_is_reported(follow: Follow) -> None:
    talker = follow(diagnostics_period=0.2)
    talker.follower.start()
    # A second context stands for another process: one process cannot use two types on a topic.
    context = rclpy.Context()
    rclpy.init(context=context)
    strange = rclpy.create_node('strange', context=context)
    strange.create_publisher(PointStamped, '/track', 1)
    words = (
        '/track is published by /strange as geometry_msgs/msg/PointStamped, expected '
        'vision_msgs/msg/Detection2D'
    )
    assert talker.wait_for_diagnostics(words)['level'] == WARN
    strange.destroy_node()
    rclpy.shutdown(context=context)
