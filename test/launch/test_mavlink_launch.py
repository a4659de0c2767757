# SPDX-License-Identifier: Apache-2.0
"""mavlink.launch.py under the real `ros2 launch`: a ground station draws a box on a video."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

NEEDS = 'needs ROS 2 with launch, and hcat_ros built by colcon'
pytest.importorskip('launch_ros', reason=NEEDS)
pytest.importorskip('ros2launch', reason=NEEDS)
pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from launching import PATIENCE, Launch

from hcat_ros.mavlink.dialect import mavlink, mavutil

try:
    get_package_share_path('hcat_ros')
except PackageNotFoundError:
    pytest.skip(f'{NEEDS}: its install folder is not sourced', allow_module_level=True)

Start = Callable[..., Launch]
FILE = 'mavlink.launch.py'


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of a textured square on a plain ground; noise tells it from a frozen camera."""
    rng = np.random.default_rng(1)
    square = rng.integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    path = tmp_path / 'square.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10.0, (320, 240))
    for _ in range(600):
        frame = rng.integers(80, 100, (240, 320, 3), np.uint8)
        frame[80:144, 120:184] = square
        writer.write(frame)
    writer.release()
    return path


def test_the_arguments_are_listed(launch: Start) -> None:
    listing = launch('--show-args')
    assert listing.end() == 0
    for name in ('connections', 'video_uri', 'motion', 'video', 'image', 'model', 'engine'):
        assert f"'{name}':" in listing.log


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (['motion:=fly'], "motion 'fly': expected none or gimbal or velocity"),
        (['conections:=udpin:1.2.3.4:5'], 'did you mean connections?'),
        (['connections:=udp'], "endpoint 'udp': expected udpin:"),
        (['mavlink_params_file:=none.yaml'], 'mavlink_params_file: no file none.yaml'),
    ],
)
def test_wrong_argument_is_named_in_the_log(launch: Start, words: list[str], reason: str) -> None:
    refused = launch('start_tracker:=false', *words)
    deadline = time.monotonic() + PATIENCE
    while reason not in refused.log and time.monotonic() < deadline:
        time.sleep(0.1)
    refused.interrupt()
    refused.end()
    assert reason in refused.log


def test_ground_station_starts_a_target_and_sees_it_tracked(launch: Start, video: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    running = launch(f'connections:=udpin:127.0.0.1:{port}', f'video:={video}', 'threads:=1')
    station = mavutil.mavlink_connection(f'udpout:127.0.0.1:{port}', source_system=255)
    deadline = time.monotonic() + PATIENCE

    def wait(kind: str, condition: Callable[[Any], bool], ask: Callable[[], None]) -> Any:
        while time.monotonic() < deadline:
            station.mav.heartbeat_send(mavlink.MAV_TYPE_GCS, 8, 0, 0, 0)
            ask()
            found = station.recv_match(type=kind, blocking=True, timeout=0.5)
            if found is not None and condition(found):
                return found
        raise AssertionError(f'no {kind}: {running.log}')

    def track() -> None:
        corners = (120 / 320, 80 / 240, 184 / 320, 144 / 240)
        station.mav.command_long_send(1, 100, 2005, 0, *corners, 0, 0, 0)

    active = mavlink.MAV_STATE_ACTIVE
    wait('HEARTBEAT', lambda m: m.system_status == active, lambda: None)
    wait('COMMAND_ACK', lambda m: m.command == 2005 and m.result == 0, track)
    status = wait('CAMERA_TRACKING_IMAGE_STATUS', lambda m: m.tracking_status == 1, lambda: None)
    assert abs(status.rec_top_x - 120 / 320) < 0.05
    assert abs(status.rec_bottom_y - 144 / 240) < 0.05
    running.interrupt()
    assert running.end() == 0, running.log
