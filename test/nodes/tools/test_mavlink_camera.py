# SPDX-License-Identifier: Apache-2.0
"""A ground station, the camera's node and a tracker: MAVLink over UDP, ROS over real DDS."""

from __future__ import annotations

import math
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from geometry_msgs.msg import Twist
from rclpy.parameter import Parameter
from rclpy.time import Time
from std_srvs.srv import SetBool
from talker import TARGET, Talker, scene, truth
from vision_msgs.msg import Detection2D, Detection2DArray

from hcat_ros.boxes import Box, iou
from hcat_ros.mavlink.dialect import mavlink, mavutil
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.tools.mavlink_camera import SETTINGS, MavlinkCamera

WIDTH, HEIGHT = 320, 240
"""Of the talker's images."""
IMAGE_STATUS = mavlink.MAVLINK_MSG_ID_CAMERA_TRACKING_IMAGE_STATUS


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


class Station:
    """A ground station on the camera's port."""

    def __init__(self, talker: Talker, port: int) -> None:
        self.talker = talker
        self.got: list[Any] = []
        self.link = mavutil.mavlink_connection(
            f'udpout:127.0.0.1:{port}', source_system=255, source_component=190
        )

    def read(self) -> None:
        while (message := self.link.recv_msg()) is not None:
            self.got.append(message)

    def wait(self, kind: str, so: Callable[[Any], bool] = lambda message: True) -> Any:
        """Wait for a message of a kind, sending a heartbeat as stations do."""

        def found() -> Any:
            self.link.mav.heartbeat_send(mavlink.MAV_TYPE_GCS, 8, 0, 0, 0)
            self.read()
            return [m for m in self.got if m.get_type() == kind and so(m)]

        self.talker.spin(lambda: bool(found()), kind)
        return found()[-1]

    def command(self, number: int, *parameters: float) -> Any:
        """Send a command, and return its last acknowledgement."""
        self.got.clear()
        values = [*parameters, *(0.0,) * (7 - len(parameters))]
        self.link.mav.command_long_send(1, 100, number, 0, *values)
        under_way = mavlink.MAV_RESULT_IN_PROGRESS
        return self.wait('COMMAND_ACK', lambda m: m.command == number and m.result != under_way)

    def track(self, box: Box) -> Any:
        corners = (box.x / WIDTH, box.y / HEIGHT)
        corners += ((box.x + box.w) / WIDTH, (box.y + box.h) / HEIGHT)
        return self.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *corners)

    def texts(self) -> str:
        return ''.join(m.text for m in self.got if m.get_type() == 'STATUSTEXT')


def box_of_status(status: Any) -> Box:
    x, y = status.rec_top_x * WIDTH, status.rec_top_y * HEIGHT
    return Box(x, y, status.rec_bottom_x * WIDTH - x, status.rec_bottom_y * HEIGHT - y)


Rig = tuple[Talker, Station]


@pytest.fixture
def rig(talk: Callable[..., Talker]) -> Iterator[Callable[..., Rig]]:
    """A function that brings up a tracker, its camera and a station, with these parameters.

    beside: endpoint of a second connection, besides that of the station.
    """
    nodes: list[MavlinkCamera] = []

    def make(
        start: bool = True,
        tracker: dict[str, Any] | None = None,
        beside: str = '',
        **parameters: Any,
    ) -> Rig:
        talker, port = talk(**(tracker or {})), free_port()
        connections = f'udpin:127.0.0.1:{port} {beside}'
        values = {'connections': connections, 'status_rate': 20.0, **parameters}
        node = MavlinkCamera(
            parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
        )
        nodes.append(node)
        talker.executor.add_node(node)
        if start:
            talker.start()
            talker.spin(lambda: node.count_publishers('track') > 0, 'the track')
        station = Station(talker, port)
        station.wait('HEARTBEAT')
        return talker, station

    yield make
    for node in nodes:
        node.destroy_node()


def test_a_station_draws_sees_it_followed_and_stops(rig: Callable[..., Rig]) -> None:
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


def test_a_track_that_comes_after_the_stop_is_of_no_target(rig: Callable[..., Rig]) -> None:
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


def test_lines_go_on_after_a_warning(rig: Callable[..., Rig], capfd: Any) -> None:
    """rclpy raises where one line of source logs at two levels."""
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


def test_a_box_that_the_tracker_refuses_fails_with_its_reason(rig: Callable[..., Rig]) -> None:
    talker, station = rig()
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    talker.tracker.trigger_deactivate()
    assert station.track(TARGET).result == mavlink.MAV_RESULT_FAILED
    assert 'activate it first' in station.texts()


def test_a_lost_target_is_told(rig: Callable[..., Rig]) -> None:
    talker, station = rig(tracker={'lost_threshold': 1.0})
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    assert station.track(TARGET).result == mavlink.MAV_RESULT_ACCEPTED
    for number in range(1, 30):  # until one scores less than the first ones did
        talker.send(number)
        talker.spin(lambda number=number: len(talker.tracks) == number, 'its track')
        if not talker.tracks[-1].results:
            break
    status = station.wait(
        'CAMERA_TRACKING_IMAGE_STATUS',
        lambda m: m.tracking_status == mavlink.CAMERA_TRACKING_STATUS_FLAGS_COASTING,
    )
    assert math.isnan(status.rec_top_x)


def test_a_point_takes_the_detection_there(rig: Callable[..., Rig]) -> None:
    talker, station = rig()
    talker.send(0)
    station.wait('HEARTBEAT', lambda beat: beat.system_status == mavlink.MAV_STATE_ACTIVE)
    seen = [detection_message(Detection2D().header, TARGET)]
    talker.detections.publish(Detection2DArray(detections=seen))
    talker.spin_for(0.2)
    x, y = TARGET.cx / WIDTH, TARGET.cy / HEIGHT
    assert station.command(mavlink.MAV_CMD_CAMERA_TRACK_POINT, x, y).result == 0
    assert tuple(talker.tracker.session.target.box) == pytest.approx(tuple(TARGET), abs=1e-3)


def test_the_rectangle_is_of_the_image_that_was_shown(rig: Callable[..., Rig]) -> None:
    """Images are stamped by the clock here, and the video comes two seconds late."""
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
    # It is followed from there to the newest image.
    talker.spin(lambda: bool(talker.tracks), 'the tracks')
    first = talker.tracks[0].header.stamp
    assert first.sec * 10**9 + first.nanosec in stamps[1:]
    newest = Time(nanoseconds=stamps[-1]).to_msg()
    talker.spin(lambda: talker.tracks[-1].header.stamp == newest, 'the newest')


class Follower:
    """Sends velocities, by way of a camera that is released, and sees what the vehicle gets."""

    def __init__(self, rig: Rig) -> None:
        self.talker, self.station = rig
        self.commands = self.talker.node.create_publisher(Twist, 'cmd_vel', 10)
        self.talker.spin(lambda: self.commands.get_subscription_count() > 0, 'the camera')
        self.client = self.talker.node.create_client(SetBool, 'mavlink_camera/hold')

    def hold(self, held: bool) -> str:
        return str(self.talker.call(self.client, SetBool.Request(data=held)).message)

    def command(self) -> None:
        twist = Twist()
        twist.linear.x, twist.linear.y, twist.angular.z = 1.0, 0.25, 0.5
        self.commands.publish(twist)

    def moves(self) -> list[Any]:
        """Set-points that have come so far."""
        self.station.read()
        return [m for m in self.station.got if m.get_type() == 'SET_POSITION_TARGET_LOCAL_NED']

    def zeros(self) -> list[Any]:
        return [m for m in self.moves() if (m.vx, m.vy, m.vz, m.yaw_rate) == (0, 0, 0, 0)]


def test_commands_of_the_follower_go_out_once_released(rig: Callable[..., Rig]) -> None:
    follower = Follower(
        rig(start=False, motion='velocity', motion_timeout=0.3, motion_stamped=False)
    )
    talker = follower.talker
    for _ in range(10):
        follower.command()
        talker.spin_for(0.02)
    assert follower.moves() == [], 'on hold'
    assert follower.hold(False) == 'commands are sent on'
    follower.command()
    talker.spin(lambda: bool(follower.moves()), 'the velocity')
    first = follower.moves()[0]
    assert (first.vx, first.vy, first.yaw_rate) == (1.0, -0.25, -0.5)
    # Nothing more comes: zero.
    talker.spin(lambda: follower.moves()[-1].vx == 0, 'the stop')
    follower.hold(True)


def test_a_blocked_executor_keeps_no_stop_back(rig: Callable[..., Rig]) -> None:
    """As by a message of many megabytes, on whatever topic."""
    follower = Follower(
        rig(start=False, motion='velocity', motion_timeout=0.3, motion_stamped=False)
    )
    follower.hold(False)
    follower.command()
    follower.talker.spin(lambda: bool(follower.moves()), 'the velocity')
    seen: list[int] = []

    def block() -> None:
        deadline = time.monotonic() + 20
        while not follower.zeros() and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(len(follower.zeros()))

    follower.talker.executor.create_task(block)
    follower.talker.spin(lambda: bool(seen), 'the end of the block', timeout=60)
    assert seen[0] > 0


def test_the_end_stops_it_by_more_than_one_message(rig: Callable[..., Rig]) -> None:
    before = set(threading.enumerate())
    follower = Follower(
        rig(start=False, motion='velocity', motion_timeout=5.0, motion_stamped=False)
    )
    (dead_man,) = (one for one in set(threading.enumerate()) - before if one.name == 'dead man')
    follower.hold(False)
    follower.command()
    follower.talker.spin(lambda: bool(follower.moves()), 'the velocity')
    (node,) = (n for n in follower.talker.executor.get_nodes() if isinstance(n, MavlinkCamera))
    follower.talker.executor.remove_node(node)
    node.destroy_node()
    # It has ended: what it sent is here.
    assert len(follower.moves()) > 1
    assert len(follower.zeros()) >= 3
    assert follower.zeros()[-1] is follower.moves()[-1]
    assert not dead_man.is_alive()


class GimbalManager:
    """Listens on a TCP port and keeps the messages that come."""

    def __init__(self) -> None:
        self.link = mavutil.mavlink_connection('tcpin:127.0.0.1:0')
        self.endpoint = 'tcp:{}:{}'.format(*self.link.listen.getsockname())
        self.got: list[Any] = []

    def start_anew(self) -> None:
        self.link.close()
        self.link = mavutil.mavlink_connection(self.endpoint.replace('tcp', 'tcpin'))
        self.got.clear()

    def heard(self, kind: str, command: int | None = None) -> list[Any]:
        """The messages of a kind that have come so far; about one command unless it is None."""
        while (message := self.link.recv_msg()) is not None:
            self.got.append(message)
        found = [m for m in self.got if m.get_type() == kind]
        return [m for m in found if command in (None, getattr(m, 'command', None))]


def test_control_of_the_gimbal_is_requested_again_when_a_link_is_opened_again(
    rig: Callable[..., Rig],
) -> None:
    """After a gimbal manager has come back, its earlier answer no longer counts."""
    manager, configure = GimbalManager(), mavlink.MAV_CMD_DO_GIMBAL_MANAGER_CONFIGURE
    follower = Follower(
        rig(start=False, motion='gimbal', motion_stamped=False, beside=manager.endpoint)
    )
    spin = follower.talker.spin
    spin(lambda: bool(manager.heard('HEARTBEAT')), 'its link')
    follower.hold(False)
    # A repeated request shows that the camera has noticed the opened link.
    spin(lambda: any(m.confirmation for m in manager.heard('COMMAND_LONG', configure)), 'another')
    manager.link.mav.command_ack_send(configure, mavlink.MAV_RESULT_ACCEPTED, 0, 0, 1, 100)
    # A link handles messages in order: the answer to this one shows that the first was handled.
    other = mavlink.MAV_CMD_REQUEST_MESSAGE
    manager.link.mav.command_long_send(1, 100, other, 0, IMAGE_STATUS, 0, 0, 0, 0, 0, 0)
    spin(lambda: bool(manager.heard('COMMAND_ACK', other)), 'the next answer')
    manager.start_anew()
    spin(lambda: bool(manager.heard('COMMAND_LONG', configure)), 'a request', timeout=60)
    assert manager.heard('COMMAND_LONG', configure)[0].confirmation == 0
    manager.link.close()


def test_an_end_on_hold_moves_nothing(rig: Callable[..., Rig]) -> None:
    follower = Follower(rig(start=False, motion='velocity', motion_stamped=False))
    (node,) = (n for n in follower.talker.executor.get_nodes() if isinstance(n, MavlinkCamera))
    follower.talker.executor.remove_node(node)
    node.destroy_node()
    assert follower.moves() == []


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        (['connections:=udp:1.2.3.4'], "endpoint 'udp:1.2.3.4': expected udpin:"),
        (["connections:=' '"], 'connections has 0 endpoints'),
        (['video_uri:=ftp://robot'], "video_uri 'ftp://robot': expected one of rtsp"),
        (['component_id:=1'], 'Invalid parameter value (1)'),
    ],
)
def test_parameters_of_no_use_are_told(ros: None, parameters: list[str], reason: str) -> None:
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
    """Another implementation of the protocol, in a process of its own."""
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
