# SPDX-License-Identifier: Apache-2.0
"""The executables in separate processes, as launch starts them."""

import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('onnxruntime', reason='an engine runs here')

import rclpy
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import iou
from hcat_ros.message_data import box_of, image_view

CARELESS = """
import rclpy
from rclpy.node import Node
from hcat_ros.nodes.lifecycle import run_node

class Careless(Node):
    calls = 0

    def __init__(self):
        super().__init__('careless')
        self.create_timer(0.01, self.call)

    def call(self):
        self.calls += 1
        if self.calls == 2:
            rclpy.shutdown()  # as Ctrl-C does
        raise RuntimeError(f'call {self.calls}')

raise SystemExit(run_node(Careless))
"""
BEFORE_1970 = """
import os
import signal
from rclpy.clock import Clock as RosClock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from hcat_ros.nodes.lifecycle import run_node

class Past(Node):
    calls = 0

    def __init__(self):
        super().__init__('past', parameter_overrides=[Parameter('use_sim_time', value=True)])
        self.clocks = self.create_publisher(Clock, '/clock', 100)
        steady = RosClock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(0.01, self.call, clock=steady)

    def call(self):
        self.calls += 1
        message = Clock()
        message.clock.sec = -5
        self.clocks.publish(message)
        if self.calls == 100:
            os.kill(os.getpid(), signal.SIGTERM)

raise SystemExit(run_node(Past))
"""
PATIENT = """
import gc
import os
import signal
from rclpy.node import Node
from hcat_ros.nodes.lifecycle import run_node

class Patient(Node):
    calls = before = 0

    def __init__(self):
        super().__init__('patient')
        self.create_timer(0.0005, self.call)

    def call(self):
        self.calls += 1
        if self.calls in (500, 2500):
            gc.collect()
            count = len(gc.get_objects())
            if self.before:
                print(count - self.before, flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
            self.before = count

raise SystemExit(run_node(Patient))
"""
SIGNALLED = """
import os
import signal
from rclpy.node import Node
from hcat_ros.nodes.lifecycle import run_nodes

class Told(Node):
    def destroy_node(self):
        print('destroyed', self.get_name(), flush=True)
        super().destroy_node()

def make():
    yield Told('first')
    os.kill(os.getpid(), signal.SIGINT)
    yield Told('second')
    yield Told('third')

raise SystemExit(run_nodes(make))
"""
FRAMES = 24
FPS = 12.0


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of a square that moves 4 px a frame."""
    path = tmp_path / 'square.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), FPS, (320, 240))
    for number in range(FRAMES):
        frame = np.full((240, 320, 3), 90, np.uint8)
        x = 60 + 4 * number
        frame[90:130, x : x + 40] = (40, 200, 240)
        frame[100:120, x + 10 : x + 30] = (200, 30, 60)
        writer.write(frame)
    writer.release()
    return path


def start(module: str, *parameters: str) -> subprocess.Popen[str]:
    words = [word for parameter in parameters for word in ('-p', parameter)]
    command = [sys.executable, '-m', 'hcat_ros.executables', module, '--ros-args', *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_video_source_and_tracker(ros: None, video: Path) -> None:
    node = rclpy.create_node('viewer')
    images: list[Image] = []
    tracks: list[Detection2D] = []
    qos = QoSProfile(depth=50)
    node.create_subscription(Image, 'image', images.append, qos)
    node.create_subscription(Detection2D, 'track', tracks.append, qos)
    tracker = start('tracker_node', 'autostart:=true')
    deadline = time.monotonic() + 60
    while node.count_publishers('track') == 0 and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    source = start(
        'video_source', f'source:={video}', 'init_box:=[60, 90, 40, 40]', 'subscribers:=2'
    )
    while source.poll() is None and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    for _ in range(20):
        rclpy.spin_once(node, timeout_sec=0.05)
    tracker.send_signal(signal.SIGINT)
    tracker.send_signal(signal.SIGINT)
    log = tracker.communicate(timeout=20)[0]
    node.destroy_node()

    assert source.returncode == 0, source.communicate()[0]
    assert tracker.returncode == 0, log
    assert 'Traceback' not in log
    assert len(images) > FRAMES / 2, 'a busy machine may lose a few'
    assert image_view(images[0])[0].shape == (240, 320, 3)
    # On a busy machine frames may be lost, never mixed up or early.
    stamps = [Time.from_msg(image.header.stamp).nanoseconds for image in images]
    last = (stamps[-1] - stamps[0]) / 1e9 * FPS
    assert last > 0.9 * (len(images) - 1), 'not faster than the video'
    assert tracks, log
    first = FRAMES - 1 - round(last)  # the last frame is not lost: nothing follows it
    for track in tracks:
        stamp = Time.from_msg(track.header.stamp).nanoseconds
        assert stamp in stamps
        number = first + (stamp - stamps[0]) / 1e9 * FPS
        assert iou(box_of(track), (60 + 4 * number, 90, 40, 40)) > 0.3


@pytest.mark.usefixtures('ros_domain')
def test_spinning_does_not_leak_memory() -> None:
    """rclpy's spin_until_future_complete leaked one function per callback, 26 MB an hour."""
    found = subprocess.run(
        [sys.executable, '-c', PATIENT], capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) < 200, 'objects that 2,000 callbacks left behind'


@pytest.mark.parametrize(
    ('parameters', 'reason'),
    [
        ((), 'parameter source is empty'),
        (('source:=/no/such.mp4',), '/no/such.mp4 does not exist; expected a video'),
        (('source:=0', 'fps:=-3.0'), 'fps'),
        (('source:=SELF', 'init_box:=[1, 2]'), 'expected x, y, w, h in pixels'),
    ],
)
def test_video_source_reports_why_it_cannot_start(
    ros: None, video: Path, parameters: tuple[str, ...], reason: str
) -> None:
    process = start('video_source', *(p.replace('SELF', str(video)) for p in parameters))
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert reason in output
    assert 'Traceback' not in output


@pytest.mark.usefixtures('ros_domain')
def test_video_source_tells_by_its_exit_code_that_images_were_left_out(
    video: Path, tmp_path: Path
) -> None:
    process = start('video_source', f'source:={video}', 'wait:=0.0')
    assert (process.communicate(timeout=60), process.returncode)[1] == 0
    images = tmp_path / 'images'
    images.mkdir()
    for number in range(3):
        cv2.imwrite(str(images / f'{number}.png'), np.full((48, 64, 3), 90, np.uint8))
    (images / '1.png').write_bytes(b'no picture')
    process = start('video_source', f'source:={images}', 'wait:=0.0')
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 3
    assert f'{images}: 1 of 3 images left out' in output
    process = start('video_source', f'source:={images}', 'wait:=0.0', 'loop:=true', 'fps:=100.0')
    assert process.stdout is not None
    output = process.stdout.readline()
    assert '1 of 3 images left out' in output
    for path in images.iterdir():
        path.unlink()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert f'{images} cannot be read again' in output
    assert '1 of 3 images left out' not in output, 'once, not in each round'


@pytest.mark.parametrize('streams', ['<&-', '>&- 2>&-', '2>&-', '>/dev/full 2>/dev/full'])
@pytest.mark.parametrize('module', ['follower_node', 'select_page'])
def test_nodes_work_with_closed_or_full_streams(ros: None, module: str, streams: str) -> None:
    line = shlex.join([sys.executable, '-m', 'hcat_ros.executables', module])
    line += f' --ros-args -r __node:=closed {streams}'
    process = subprocess.Popen(f'exec {line}', shell=True)
    node = rclpy.create_node('viewer')
    deadline = time.monotonic() + 60
    while 'closed' not in node.get_node_names() and process.poll() is None:
        assert time.monotonic() < deadline
        rclpy.spin_once(node, timeout_sec=0.05)
    time.sleep(0.5)  # the end of start-up
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    node.destroy_node()


def test_node_survives_a_callback_error_and_ignores_errors_during_shutdown(ros: None) -> None:
    done = subprocess.run(
        [sys.executable, '-c', CARELESS], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert 'error in a callback' in done.stderr
    assert 'RuntimeError: call 1' in done.stderr
    assert 'call 2' not in done.stderr


@pytest.mark.usefixtures('ros_domain')
def test_no_further_node_is_created_after_a_signal() -> None:
    """Four nodes took 7 s to end on Ctrl-C, and `ros2 launch` kills a process after 10 s."""
    done = subprocess.run(
        [sys.executable, '-c', SIGNALLED], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    # The signal comes while the second node is created, which is finished.
    assert done.stdout.splitlines() == ['destroyed first', 'destroyed second']
    assert done.stderr == ''


@pytest.mark.parametrize(
    'module',
    [
        'tracker_node',
        'follower_node',
        'select_page',
        'mavlink_camera',
        'camera_sim',
        'video_source',
    ],
)
@pytest.mark.usefixtures('ros_domain')
def test_executable_reports_why_its_node_cannot_be_created(module: str) -> None:
    process = start(module, 'use_sim_time:=5')
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "cannot start: Trying to set parameter 'use_sim_time' to '5'" in output
    assert 'Traceback' not in output


@pytest.mark.parametrize('depth', [-1, 10**11])
@pytest.mark.usefixtures('ros_domain')
def test_executable_reports_an_impossible_depth(depth: int) -> None:
    """10**11 ended in a traceback, -1 in 'invalid allocator'."""
    process = start('select_page', 'port:=0', f'qos_overrides./track.subscription.depth:={depth}')
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert '/track' in output
    assert f'depth {depth}: expected' in output
    assert 'Traceback' not in output


@pytest.mark.usefixtures('ros_domain')
def test_errors_from_a_negative_clock_are_throttled_in_the_log() -> None:
    done = subprocess.run(
        [sys.executable, '-c', BEFORE_1970], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if line]
    assert 1 <= len(lines) <= 3, 'of 100 messages'
    assert all('error in a callback: Seconds value must not be negative' in each for each in lines)


@pytest.mark.parametrize('wait_for', ['start', 'node', 'active'])
@pytest.mark.parametrize('signals', [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)])
def test_signals_at_any_time_end_the_tracker_and_the_next_one_starts(
    ros: None, wait_for: str, signals: tuple[signal.Signals, ...]
) -> None:
    node = rclpy.create_node('viewer')

    def wait(tracker: 'subprocess.Popen[str]', what: str) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and tracker.poll() is None:
            rclpy.spin_once(node, timeout_sec=0.02)
            if what == 'node' and 'hcat_tracker' in node.get_node_names():
                return  # it is loading its engine
            if what == 'active' and node.count_subscribers('image'):
                return
        raise AssertionError(tracker.communicate(timeout=20)[0])

    deadline = time.monotonic() + 20  # until the tracker of the previous test has left the graph
    while 'hcat_tracker' in node.get_node_names() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    tracker = start('tracker_node', 'autostart:=true', 'threads:=1')
    if wait_for == 'start':
        time.sleep(0.2)  # Python is still importing, so the signal has its default effect
    else:
        wait(tracker, wait_for)
    for number in signals:
        tracker.send_signal(number)
    log = tracker.communicate(timeout=30)[0]
    if wait_for != 'start':
        assert tracker.returncode == 0, log
        assert 'Traceback' not in log
    deadline = time.monotonic() + 20
    while node.count_subscribers('image') and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    following = start('tracker_node', 'autostart:=true', 'threads:=1')
    wait(following, 'active')
    following.send_signal(signal.SIGINT)
    log = following.communicate(timeout=30)[0]
    node.destroy_node()
    assert following.returncode == 0, log
