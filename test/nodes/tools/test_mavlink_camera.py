# SPDX-License-Identifier: Apache-2.0
"""A ground station, the MAVLink camera's node and a tracker: MAVLink over UDP, real DDS."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from camera_station import HEIGHT, IMAGE_STATUS, WIDTH, Rig, box_of_status
from rclpy.time import Time
from talker import TARGET, scene, truth
from vision_msgs.msg import Detection2D, Detection2DArray

from hcat_ros.boxes import iou
from hcat_ros.mavlink.dialect import mavlink
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.tools.mavlink_camera import SETTINGS


def test_station_draws_a_box_sees_it_tracked_and_stops(rig: Callable[..., Rig]) -> None:
    talker, station = rig()
    assert station.track(TARGET).result == mavlink.MAV_RESULT_TEMPORARILY_REJECTED
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    station.command(mavlink.MAV_CMD_REQUEST_MESSAGE, mavlink.MAVLINK_MSG_ID_CAMERA_INFORMATION)
    information = station.wait('CAMERA_INFORMATION')
    assert (information.resolution_h, information.resolution_v) == (WIDTH, HEIGHT)
    assert station.track(TARGET).result == mavlink.MAV_RESULT_ACCEPTED
    for number in range(1, 6):
        talker.send(number)
    talker.spin(lambda: len(talker.tracks) == 5, 'the tracks')
    active = mavlink.CAMERA_TRACKING_STATUS_FLAGS_ACTIVE
    station.wait(
        'CAMERA_TRACKING_IMAGE_STATUS',
        lambda m: m.tracking_status == active and iou(box_of_status(m), truth(5)) > 0.5,
    )
    assert station.command(mavlink.MAV_CMD_CAMERA_STOP_TRACKING).result == 0
    assert not talker.tracker.session.has_target
    station.wait('CAMERA_TRACKING_IMAGE_STATUS', lambda m: m.tracking_status == 0)


def test_track_that_arrives_after_the_stop_is_ignored(rig: Callable[..., Rig]) -> None:
    talker, station = rig()
    late = talker.node.create_publisher(Detection2D, 'track', 10)
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    assert station.track(TARGET).result == mavlink.MAV_RESULT_ACCEPTED
    talker.send(1)
    station.wait('CAMERA_TRACKING_IMAGE_STATUS', lambda m: m.tracking_status == 1)
    assert station.command(mavlink.MAV_CMD_CAMERA_STOP_TRACKING).result == 0
    station.wait('CAMERA_TRACKING_IMAGE_STATUS', lambda m: m.tracking_status == 0)
    late.publish(talker.tracks[0])
    talker.spin_for(0.5)
    station.command(mavlink.MAV_CMD_REQUEST_MESSAGE, IMAGE_STATUS)
    assert station.wait('CAMERA_TRACKING_IMAGE_STATUS').tracking_status == 0


def test_info_lines_are_still_logged_after_a_warning(rig: Callable[..., Rig], capfd: Any) -> None:
    """rclpy raises an error if one line of source logs at two severities."""
    talker, station = rig(start=False)
    tracks = talker.node.create_publisher(Detection2D, 'track', 10)
    bad = detection_message(Detection2D().header, TARGET)
    bad.bbox.size_x = math.nan
    logged: list[str] = []

    def has_logged(pattern: str) -> bool:
        logged.append(capfd.readouterr().err)
        return re.search(pattern, ''.join(logged)) is not None

    def warns() -> bool:
        tracks.publish(bad)  # more than once: it may not be connected yet
        return has_logged(r'\[WARN\].*track refused: box')

    talker.spin(warns, 'the warning')
    assert station.track(TARGET).result == mavlink.MAV_RESULT_TEMPORARILY_REJECTED
    line = r'\[INFO\].*not done: the tracker has not received an image yet'
    talker.spin(lambda: has_logged(line), 'the line')


def test_refused_box_fails_with_the_reason(rig: Callable[..., Rig]) -> None:
    talker, station = rig()
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    talker.tracker.trigger_deactivate()
    assert station.track(TARGET).result == mavlink.MAV_RESULT_FAILED
    # A text of more than 50 characters arrives in several messages.
    station.wait('STATUSTEXT', lambda _: 'activate it first' in station.texts())


def test_lost_target_is_reported_as_coasting(rig: Callable[..., Rig]) -> None:
    talker, station = rig(tracker={'lost_threshold': 1.0})
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    assert station.track(TARGET).result == mavlink.MAV_RESULT_ACCEPTED
    for number in range(1, 30):  # until a frame scores less than the first ones did
        talker.send(number)
        talker.spin(lambda number=number: len(talker.tracks) == number, 'its track')
        if not talker.tracks[-1].results:
            break
    status = station.wait(
        'CAMERA_TRACKING_IMAGE_STATUS',
        lambda m: m.tracking_status == mavlink.CAMERA_TRACKING_STATUS_FLAGS_COASTING,
    )
    assert math.isnan(status.rec_top_x)


def test_point_command_selects_the_detection_at_that_point(rig: Callable[..., Rig]) -> None:
    talker, station = rig()
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    seen = [detection_message(Detection2D().header, TARGET)]
    talker.detections.publish(Detection2DArray(detections=seen))
    talker.spin_for(0.2)
    x, y = TARGET.cx / WIDTH, TARGET.cy / HEIGHT
    assert station.command(mavlink.MAV_CMD_CAMERA_TRACK_POINT, x, y).result == 0
    assert tuple(talker.tracker.session.target.box) == pytest.approx(tuple(TARGET), abs=1e-3)


def test_rectangle_applies_to_the_image_shown_after_video_latency(rig: Callable[..., Rig]) -> None:
    """Images are stamped by the clock, and the station sees the video two seconds late."""
    talker, station = rig(video_latency=2.0, tracker={'stamp_tolerance': 5.0})
    clock = talker.node.get_clock()
    stamps = []
    for number in range(12):
        stamps.append(clock.now().nanoseconds)
        message = image_message(scene(number), 'bgr8')
        talker.send_message(message, Time(nanoseconds=stamps[-1]).to_msg())
        talker.spin_for(0.3)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    before = clock.now().nanoseconds
    assert station.track(truth(6)).result == mavlink.MAV_RESULT_ACCEPTED
    after = clock.now().nanoseconds

    late = 2_000_000_000
    assert before - late <= talker.tracker.session.target.stamp <= after - late
    # The target is tracked from there to the newest image.
    talker.spin(lambda: bool(talker.tracks), 'the tracks')
    first = talker.tracks[0].header.stamp
    assert first.sec * 10**9 + first.nanosec in stamps[1:]
    newest = Time(nanoseconds=stamps[-1]).to_msg()
    talker.spin(lambda: talker.tracks[-1].header.stamp == newest, 'the newest')


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        (['connections:=udp:1.2.3.4'], "endpoint 'udp:1.2.3.4': expected udpin:"),
        (["connections:=' '"], 'connections has 0 endpoints'),
        (['video_uri:=ftp://robot'], "video_uri 'ftp://robot': expected one of rtsp"),
        (['component_id:=1'], 'Invalid parameter value (1)'),
    ],
)
def test_invalid_parameters_prevent_startup_with_the_reason(
    ros: None, parameters: list[str], reason: str
) -> None:
    words = [word for parameter in parameters for word in ('-p', parameter)]
    command = [sys.executable, '-m', 'hcat_ros.executables', 'mavlink_camera', '--ros-args', *words]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 1
    assert f'cannot start: {reason}' in found.stderr
    assert 'Traceback' not in found.stderr


def test_the_parameter_file_holds_the_defaults(checkout: Path) -> None:
    content = yaml.safe_load((checkout / 'config' / 'mavlink_camera.yaml').read_text())
    given = content['/**']['ros__parameters']
    assert given == {setting.name: setting.default for setting in SETTINGS}


MAVSDK_STATION = """
import sys, time
from mavsdk import ComponentType, Configuration, Mavsdk
from mavsdk.plugins.camera import Camera
sdk = Mavsdk(Configuration.create_with_component_type(ComponentType.GROUND_STATION))
sdk.add_any_connection(f'udpout://127.0.0.1:{sys.argv[1]}')
deadline = time.monotonic() + 60
def until(so):
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
until(sdk.get_systems)
camera = Camera(sdk.get_systems()[0])
until(lambda: camera.camera_list().cameras)
found = camera.camera_list().cameras[0]
# Into a file: MAVSDK writes its own lines to the streams at any time.
with open(sys.argv[6], 'w') as answers:
    print('camera', found.vendor_name, found.horizontal_resolution_px, file=answers)
    try:
        camera.track_rectangle(100, 0.5, 0.5, 0.5, 0.5)
    except Exception as error:
        print('refused', 'DENIED' in str(error), file=answers)
    print('track', camera.track_rectangle(100, *map(float, sys.argv[2:6])).name, file=answers)
    print('stop', camera.track_stop(100).name, file=answers)
"""


def test_mavsdk_finds_the_camera_and_tracks(rig: Callable[..., Rig], tmp_path: Path) -> None:
    """MAVSDK is another implementation of the protocol; it runs in a separate process."""
    pytest.importorskip('mavsdk', reason='needs mavsdk (pip install mavsdk)')
    talker, station = rig()
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    port = str(station.link.destination_addr[1])
    x, y, w, h = TARGET
    corners = [str(v) for v in (x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT)]
    process = subprocess.Popen(
        [sys.executable, '-c', MAVSDK_STATION, port, *corners, tmp_path / 'answers.txt'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        talker.spin(lambda: process.poll() is not None, 'the end of the station', timeout=120)
    finally:
        process.send_signal(signal.SIGKILL)
    text = process.communicate()[0]
    assert (tmp_path / 'answers.txt').read_text().splitlines() == [
        f'camera hcat_ros {WIDTH}',
        'refused True',
        'track SUCCESS',
        'stop SUCCESS',
    ], text
