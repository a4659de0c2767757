# SPDX-License-Identifier: Apache-2.0
"""Images as cameras and bags send them, through the node over real DDS."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.time import Time as RosTime
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from talker import TARGET, Talker, count_matched, scene, stamp, truth

from hcat_ros.boxes import iou
from hcat_ros.message_data import box_of
from hcat_ros.nodes.diagnostics import Statistics
from hcat_ros.nodes.images import image_message


def statistics(talker: Talker) -> Statistics:
    return talker.tracker.refusals.statistics


def bayer(bgr: np.ndarray) -> np.ndarray:
    """Return the picture as a sensor with an RGGB Bayer pattern records it."""
    raw = bgr[:, :, 1].copy()
    raw[::2, ::2], raw[1::2, 1::2] = bgr[::2, ::2, 2], bgr[1::2, 1::2, 0]
    return raw


def yuv422(bgr: np.ndarray) -> np.ndarray:
    """Return the picture as UYVY, in which two pixels share the colour of the first."""
    yuv = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV)
    colours = yuv[:, ::2, 1:].reshape(len(yuv), -1)
    # Full range in place of BT.601's: slightly too bright, which does not affect the tracker.
    return np.stack([colours, yuv[:, :, 0]], axis=2)


def nv12(bgr: np.ndarray) -> Image:
    """Return the picture as an NV12 message, its planes one above the other."""
    planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    height, width = bgr.shape[:2]
    u, v = planes[height:].reshape(2, height // 2, width // 2)
    planes[height:] = np.stack([u, v], axis=2).reshape(height // 2, width)
    message = image_message(planes, 'mono8')
    message.height, message.encoding = height, 'nv12'
    return message


def mono16(bgr: np.ndarray) -> Image:
    """Return the picture as a big-endian message with 12 of 16 bits in use."""
    deep = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype('>u2') * 16
    message = image_message(deep.astype('>u2').view(np.uint8), 'mono8')
    message.width, message.encoding, message.is_bigendian = bgr.shape[1], 'mono16', 1
    return message


MESSAGES: dict[str, Callable[[np.ndarray], Image]] = {
    'bayer_rggb8': lambda bgr: image_message(bayer(bgr), 'bayer_rggb8'),
    'yuv422': lambda bgr: image_message(yuv422(bgr), 'yuv422'),
    'nv12': nv12,
    'mono16': mono16,
}


@pytest.mark.parametrize('encoding', MESSAGES)
def test_sensor_encodings_are_tracked_and_drawn(talk: Callable[..., Talker], encoding: str) -> None:
    talker = talk(mono16_bits=12)
    talker.start()
    pictures: list[Image] = []
    talker.node.create_subscription(Image, 'track_image', pictures.append, 10)
    talker.spin(lambda: count_matched(talker.tracker, 'track_image') == 1, 'the subscription')
    for number in range(4):
        talker.send_message(MESSAGES[encoding](scene(number)), stamp(number))
        if number == 0:
            talker.name_target(TARGET)
    talker.spin(lambda: len(talker.tracks) == 3 and len(pictures) == 3, '3 tracks, drawn')
    for number, track in enumerate(talker.tracks, 1):
        assert track.header.stamp == stamp(number)
        assert iou(box_of(track), truth(number)) > 0.5
    assert {picture.encoding for picture in pictures} == {'bgr8'}


def test_stamps_of_any_value_are_copied_to_tracks(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    stamps = [Time(), Time(), Time(sec=7, nanosec=1), Time(sec=2**31 - 1, nanosec=999_999_999)]
    for number, at in enumerate(stamps):
        talker.send_message(image_message(scene(number), 'bgr8'), at, frame_id='/camera 1')
        if number == 0:
            talker.name_target(TARGET)
    talker.spin(lambda: len(talker.tracks) == 3, '3 tracks')
    assert [track.header.stamp for track in talker.tracks] == stamps[1:]
    assert {track.header.frame_id for track in talker.tracks} == {'/camera 1'}


def test_target_is_kept_after_stamps_jump_back_if_found_in_place(
    talk: Callable[..., Talker], capfd: pytest.CaptureFixture[str]
) -> None:
    talker = talk()
    talker.start()
    for number in (100, 101):
        talker.send_message(image_message(scene(number % 100), 'bgr8'), stamp(number))
        if number == 100:
            talker.name_target(TARGET)
    for number in (2, 3):
        talker.send(number)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track')
    talker.spin_for(1.1)
    for number in (4, 5):
        talker.send(number)
    talker.spin(lambda: len(talker.tracks) == 3, 'tracks after the jump')
    assert [track.header.stamp for track in talker.tracks] == [stamp(101), stamp(4), stamp(5)]
    assert {track.id for track in talker.tracks} == {talker.tracks[0].id}
    assert iou(box_of(talker.tracks[-1]), truth(5)) > 0.5
    log = capfd.readouterr().err
    assert '/image: image stamps jumped back by 4.850 s; tracking goes on' in log


def test_target_is_dropped_after_stamps_jump_back_if_not_found(
    talk: Callable[..., Talker],
) -> None:
    talker = talk(lost_threshold=0.95, uncertain_threshold=0.99, scan_regions=0)
    talker.start()
    for number in range(100, 106):
        talker.send_message(image_message(scene(number % 100), 'bgr8'), stamp(number))
        if number == 100:
            talker.name_target(TARGET)
    talker.spin(lambda: len(talker.tracks) == 5, 'tracks')
    rng = np.random.default_rng(1)
    for number in (0, 1):
        other = rng.integers(0, 256, (240, 320, 3), np.uint8)
        talker.send_message(image_message(other, 'bgr8'), stamp(number))
        talker.spin_for(1.1)
    talker.spin(lambda: not talker.tracker.session.has_target, 'the end of the target')
    assert len(talker.tracks[-1].results) == 0
    assert 'after the image stamps jumped it was not found again' in statistics(talker).last_problem


def test_images_out_of_order_are_ignored(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    talker.send(1)
    talker.name_target(truth(1))
    for number in (4, 2, 3, 5):
        talker.send(number)
    talker.spin(lambda: len(talker.tracks) == 2, 'tracks of the others')
    assert [track.header.stamp for track in talker.tracks] == [stamp(4), stamp(5)]
    assert statistics(talker).counts['late images'] == 2


def half(number: int) -> Image:
    """Return the scene at half of its size."""
    return image_message(np.ascontiguousarray(scene(number)[::2, ::2]), 'bgr8')


def test_lasting_change_of_image_size_drops_the_target(
    talk: Callable[..., Talker], capfd: pytest.CaptureFixture[str]
) -> None:
    talker = talk()
    talker.start()
    talker.send(0)
    talker.name_target(TARGET)
    talker.send_message(half(1), stamp(1))
    talker.send(2)
    talker.spin(lambda: len(talker.tracks) == 1, 'the track of the first size')
    talker.send_message(half(3), stamp(3))
    talker.spin_for(1.1)
    for number in (4, 5):
        talker.send_message(half(number), stamp(number))
    talker.spin_for(0.3)
    assert len(talker.tracks) == 1
    assert not talker.tracker.session.has_target
    assert len(talker.tracker.session.buffer) == 2, 'no catching up through both sizes'
    log = capfd.readouterr().err
    message = "images are now 160x120 of frame 'front'; before they were 320x240 of frame 'front'"
    assert message in log
    assert statistics(talker).counts['images of another view'] == 2


def test_repeated_image_is_reported_as_a_frozen_camera(talk: Callable[..., Talker]) -> None:
    talker = talk(diagnostics_period=0.2)
    talker.start()
    talker.send(0)
    talker.name_target(TARGET)
    talker.send(1)
    for number in range(2, 12):
        talker.send_message(image_message(scene(1), 'bgr8'), stamp(number))
        talker.spin_for(0.05)
    talker.spin(lambda: len(talker.tracks) == 11, 'a track for each image')
    told = [len(track.results) for track in talker.tracks]
    assert told[:2] == [1, 1]
    assert told[-3:] == [0, 0, 0]
    assert talker.tracks[-1].bbox.size_x == 0
    talker.spin(lambda: 'the same image for' in talker.status().message, 'the warning')
    assert talker.status().level == DiagnosticStatus.WARN
    talker.send(3 + 9)
    talker.spin(lambda: len(talker.tracks[-1].results) == 1, 'tracks again')
    assert {track.id for track in talker.tracks} == {talker.tracks[0].id}
    talker.spin(lambda: 'the same image' not in talker.status().message, 'the end of the warning')


def test_frozen_timeout_0_allows_repeated_images(talk: Callable[..., Talker]) -> None:
    talker = talk(frozen_timeout=0.0)
    talker.start()
    for number in range(10):
        talker.send_message(image_message(scene(0), 'bgr8'), stamp(number))
        if number == 0:
            talker.name_target(TARGET)
        talker.spin_for(0.05)
    talker.spin(lambda: len(talker.tracks) == 9, 'tracks')
    assert all(track.results for track in talker.tracks)


def test_old_images_are_counted_and_not_tracked(talk: Callable[..., Talker]) -> None:
    talker = talk(max_age=0.5)
    talker.start()
    clock = talker.node.get_clock()

    def send(number: int, age: float) -> None:
        at = RosTime(nanoseconds=clock.now().nanoseconds - round(age * 1e9))
        talker.send_message(image_message(scene(number), 'bgr8'), at.to_msg())

    send(0, 0.0)
    talker.name_target(TARGET)
    send(1, 0.0)
    send(2, 2.0)
    talker.spin(lambda: statistics(talker).counts['old images'] == 1, 'the old image')
    assert 'older on arrival than max_age, 0.5 s' in statistics(talker).last_problem
    talker.spin(lambda: len(talker.tracks) == 1, 'the track of the new one')
    assert talker.set('max_age', 0).successful
    send(2, -0.1)
    talker.spin(lambda: len(talker.tracks) == 2, 'a track')


def test_image_age_uses_simulated_time(talk: Callable[..., Talker]) -> None:
    talker = talk(max_age=0.5, use_sim_time=True)
    clock = talker.node.create_publisher(Clock, '/clock', 10)
    talker.start()
    for number in range(3):
        now = stamp(number if number < 2 else number + 20)
        deadline = time.monotonic() + 20
        while talker.tracker.get_clock().now().to_msg() != now and time.monotonic() < deadline:
            clock.publish(Clock(clock=now))
            talker.spin_for(0.1)
        talker.send(number)
        if number == 0:
            talker.name_target(TARGET)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track')
    assert talker.tracks[0].header.stamp == stamp(1)
    assert statistics(talker).counts['old images'] == 1


def test_stopped_simulated_time_is_reported_and_the_node_starts(
    talk: Callable[..., Talker], capfd: pytest.CaptureFixture[str]
) -> None:
    talker = talk(use_sim_time=True, autostart=True)
    talker.spin(lambda: talker.tracker.state_label == 'active', 'active')
    talker.spin(lambda: bool(talker.diagnostics), 'diagnostics')
    talker.spin_for(1.2)
    assert capfd.readouterr().err.count('use_sim_time is set, but /clock stands still') == 1
    # When the clock runs, the log must not say that images arrive, because none has.
    clock = talker.node.create_publisher(Clock, '/clock', 10)
    deadline, log, number = time.monotonic() + 20, '', 1
    while 'no image for 2 s' not in log and time.monotonic() < deadline:
        clock.publish(Clock(clock=stamp(number)))
        number += 1
        talker.spin_for(0.1)
        log += capfd.readouterr().err
    assert 'no image for 2 s' in log
    assert 'images arrive' not in log


def test_an_image_with_an_overlong_frame_id_is_refused(talk: Callable[..., Talker]) -> None:
    talker = talk()
    talker.start()
    talker.send_message(image_message(scene(0), 'bgr8'), stamp(0), frame_id='f' * 10**6)
    assert 'frame_id has 1000000 characters' in statistics(talker).last_problem
    talker.send(1)
    talker.name_target(truth(1))
    talker.send(2)
    talker.spin(lambda: bool(talker.tracks), 'a track')
    assert {track.header.frame_id for track in talker.tracks} == {'front'}
