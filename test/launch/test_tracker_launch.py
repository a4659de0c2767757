# SPDX-License-Identifier: Apache-2.0
"""The launch files under the real `ros2 launch`, with the nodes it starts watched over DDS."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

NEEDS = 'needs ROS 2 with launch, and hcat_ros built by colcon'
# Not `launch`: without ROS's package, our own folder of that name would be imported.
pytest.importorskip('launch_ros', reason=NEEDS)
pytest.importorskip('ros2launch', reason=NEEDS)

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_path
from launching import PATIENCE, Launch, fast_dds_profile, parameters, wait_for_state
from rcl_interfaces.msg import ParameterType
from rclpy.node import Node
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import iou
from hcat_ros.nodes.detections import box_of
from hcat_ros.nodes.tracker.settings import SETTINGS

try:
    get_package_share_path('hcat_ros')
except PackageNotFoundError:
    pytest.skip(f'{NEEDS}: its install folder is not sourced', allow_module_level=True)

BOX = (60, 90, 40, 40)
Start = Callable[..., Launch]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of a square at `BOX` that hardly moves, 3 s."""
    path = tmp_path / 'square.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 10.0, (320, 240))
    for number in range(30):
        frame = np.full((240, 320, 3), 90, np.uint8)
        x = BOX[0] + number // 3
        frame[90:130, x : x + 40] = (40, 200, 240)
        frame[100:120, x + 10 : x + 30] = (200, 30, 60)
        writer.write(frame)
    writer.release()
    return path


def test_the_arguments_are_listed(launch: Start) -> None:
    for file in ('tracker.launch.py', 'demo.launch.py'):
        listing = launch(file, '--show-args')
        assert listing.end() == 0
        for name in (*(setting.name for setting in SETTINGS), 'image', 'namespace'):
            assert f"'{name}':" in listing.log


def test_arguments_override_the_parameter_file(launch: Start, viewer: Node, tmp_path: Path) -> None:
    mine = tmp_path / 'mine.yaml'
    mine.write_text('/**:\n  ros__parameters: {window_penalty: 0.2, class_id: walker}\n')
    running = launch(
        'tracker.launch.py',
        f'params_file:={mine}',
        'window_penalty:=1',
        'init_box:=[1, 2, 30, 40]',
        'engine:=onnxruntime',
        'precision:=fp32',
        'threads:=1',
        'build_if_missing:=false',
        'lost_threshold:=0',
        'image:=/camera/image_raw',
        'namespace:=drone1',
    )
    wait_for_state(viewer, '/drone1/hcat_tracker', 'active', running)
    tracker = '/drone1/hcat_tracker'
    penalty, box, class_id = parameters(viewer, tracker, 'window_penalty', 'init_box', 'class_id')
    threads, build, lost = parameters(
        viewer, tracker, 'threads', 'build_if_missing', 'lost_threshold'
    )
    assert threads.integer_value == 1
    assert build.type == ParameterType.PARAMETER_BOOL
    assert not build.bool_value
    assert lost.double_value == 0.0
    assert lost.type == ParameterType.PARAMETER_DOUBLE
    assert penalty.double_value == 1.0
    assert list(box.double_array_value) == [1, 2, 30, 40]
    assert class_id.string_value == 'walker'
    assert viewer.count_subscribers('/camera/image_raw') == 1

    running.interrupt()
    time.sleep(0.1)
    running.interrupt()
    # The nodes may have ended by then; the second interrupt may then end launch itself.
    assert running.end() in (0, -2), running.log
    assert 'process has finished cleanly' in running.log
    assert 'Traceback' not in running.log


def test_without_autostart_the_node_waits(launch: Start, viewer: Node) -> None:
    running = launch('tracker.launch.py', 'autostart:=false')
    wait_for_state(viewer, '/hcat_tracker', 'unconfigured', running)
    running.interrupt()
    assert running.end() == 0


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_the_demo_tracks_and_ends_with_its_video(
    launch: Start, viewer: Node, video: Path, transport: str
) -> None:
    tracks: list[Detection2D] = []
    viewer.create_subscription(Detection2D, '/drone1/track', tracks.append, 50)
    x, y, w, h = BOX
    running = launch(
        'demo.launch.py',
        f'video:={video}',
        f'init_box:={x},{y},{w},{h}',
        f'image_transport:={transport}',
        'window_penalty:=1',
        'namespace:=drone1',
    )
    deadline = time.monotonic() + PATIENCE
    while running.process.poll() is None and time.monotonic() < deadline:
        rclpy.spin_once(viewer, timeout_sec=0.1)
    assert running.end() == 0
    assert 'window_penalty 1' in running.log
    assert running.log.count('process has finished cleanly') == 2
    assert 'Traceback' not in running.log
    assert tracks, running.log
    for track in tracks:
        assert track.id.endswith('-1')
        assert track.header.frame_id == 'camera'
        assert iou(box_of(track), BOX) > 0.3


@pytest.mark.parametrize(
    ('argument', 'reason'),
    [
        ('window_penalty:=abc', "window_penalty:='abc': expected a number"),
        ('windw_penalty:=0.3', 'windw_penalty does not exist; did you mean window_penalty?'),
        ('threads:=1.5', "threads:='1.5': expected a whole number"),
        ('build_if_missing:=1', "build_if_missing:='1': expected true or false"),
        ('init_box:=1,2,x,4', "init_box:='1,2,x,4': expected '[x, y, w, h]'"),
        ('autostart:=maybe', "autostart:='maybe': expected true or false"),
        ('log_level:=loud', "log_level:='loud': expected debug or info"),
        ('params_file:=/no/such.yaml', 'no file /no/such.yaml'),
    ],
)
def test_wrong_argument_is_refused_with_a_reason(launch: Start, argument: str, reason: str) -> None:
    refused = launch('tracker.launch.py', argument)
    assert refused.end() == 1
    assert reason in refused.log
    assert 'process started' not in refused.log


@pytest.mark.parametrize(
    ('argument', 'reason', 'state'),
    [
        ('window_penalty:=7', 'window_penalty out of range', 'unconfigured'),
        ('engine:=abacus', "engine 'abacus': expected auto", 'unconfigured'),
        ('model:=no_such_model', "no model 'no_such_model'", 'unconfigured'),
        ('init_box:=1,2', 'expected x, y, w, h in pixels', 'inactive'),
    ],
)
def test_node_keeps_running_after_a_refused_value(
    launch: Start, viewer: Node, argument: str, reason: str, state: str
) -> None:
    running = launch('tracker.launch.py', argument)
    deadline = time.monotonic() + PATIENCE
    while reason not in running.log and time.monotonic() < deadline:
        time.sleep(0.1)
    assert reason in running.log
    wait_for_state(viewer, '/hcat_tracker', state, running)
    running.interrupt()
    assert running.end() == 0
    assert 'Traceback' not in running.log


@pytest.mark.parametrize('own', [False, True])
def test_fast_dds_profile_is_set_unless_the_user_has_set_one(
    launch: Start,
    viewer: Node,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own: bool,
) -> None:
    config = get_package_share_path('hcat_ros') / 'config'
    expected = {
        'tracker_node': config / 'fastdds_tracker.xml',
        'video_source': config / 'fastdds_large_images.xml',
    }
    monkeypatch.delenv('FASTRTPS_DEFAULT_PROFILES_FILE', raising=False)
    monkeypatch.delenv('RMW_IMPLEMENTATION', raising=False)
    if own:
        mine = tmp_path / 'mine.xml'
        mine.write_bytes((config / 'fastdds_large_images.xml').read_bytes())
        monkeypatch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(mine))
        expected = dict.fromkeys(expected, mine)
    running = launch('demo.launch.py', f'video:={video}', 'loop:=true', 'autostart:=false')
    wait_for_state(viewer, '/hcat_tracker', 'unconfigured', running)
    for executable, profile in expected.items():
        assert fast_dds_profile(running, executable) == str(profile)
    running.interrupt()
    assert running.end() == 0
