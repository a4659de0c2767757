# SPDX-License-Identifier: Apache-2.0
"""Benchmark of the tracker node from outside: start, latency and memory over real DDS.

Starts the tracker node in its own process, while this process publishes camera images, and
prints a Markdown table. Exits with 1 if no detection arrived.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros_domain import take_domain
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D

from hcat_ros.engines import ENGINES
from hcat_ros.markdown import markdown_table
from hcat_ros.message_data import nanoseconds
from hcat_ros.models import DEFAULT_MODEL, ModelError, load_model
from hcat_ros.nodes.images import image_message

ROOT = Path(__file__).resolve().parents[1]
GOALS = {'start': 1.5, 'memory': 200.0}
"""Seconds from the start to the first detection; MB of resident memory."""
MEMORY = {'resident': 'VmRSS', 'own': 'RssAnon', 'files': 'RssFile', 'shared': 'RssShmem'}
"""Names in the report for the lines of /proc/PID/status."""
PROFILE = 'FASTRTPS_DEFAULT_PROFILES_FILE'


class Start(NamedTuple):
    """Seconds from the start of the process until ..."""

    seen: float
    """... DDS has discovered the node: Python, its imports and rclpy are loaded."""
    active: float
    """... it has subscribed to images: the engine is loaded and warm."""
    detection: float
    """... the first detection has arrived: the first image names the target, the next finds it."""
    processor: float
    """Processor time of the node until then, s, which other work on the machine does not change."""


class Camera(Node):
    """Publishes one picture at a steady rate and records when its detections arrive."""

    def __init__(self, size: tuple[int, int], fps: float, limit: float) -> None:
        super().__init__('bench_camera')
        self.limit = limit
        """Longest time to wait for the node, s."""
        self.latencies: list[float] = []
        """Times from the stamp of an image to its detection, s."""
        # Coarse noise, as in hcat benchmark.
        rng = np.random.default_rng(0)
        width, height = size
        coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        picture = coarse.repeat(16, 0).repeat(16, 1)[:height, :width]
        self._message = image_message(np.ascontiguousarray(picture), 'bgr8')
        self._images = self.create_publisher(Image, 'image', QoSProfile(depth=2))
        self.create_subscription(Detection2D, 'track', self._on_track, QoSProfile(depth=10))
        self.create_timer(1 / fps, self._publish)

    def _publish(self) -> None:
        self._message.header.stamp = self.get_clock().now().to_msg()
        # The same image again would be reported as a frozen camera.
        self._message.data[0] = (self._message.data[0] + 1) % 256
        self._images.publish(self._message)

    def _on_track(self, message: Detection2D) -> None:
        now = self.get_clock().now().nanoseconds
        self.latencies.append((now - nanoseconds(message.header.stamp)) / 1e9)

    def spin(self, until: Callable[[], bool], node: subprocess.Popen[bytes], what: str) -> None:
        """Spin until a condition holds. Raises RuntimeError if it does not hold in time."""
        deadline = time.monotonic() + self.limit
        while not until():
            if node.poll() is not None:
                raise RuntimeError(f'the node ended with {node.returncode}; its log says why')
            if time.monotonic() > deadline:
                raise RuntimeError(f'{what}: not within {self.limit:g} s')
            rclpy.spin_once(self, timeout_sec=0.01)


def start_node(arguments: argparse.Namespace, max_targets: int = 1) -> subprocess.Popen[bytes]:
    """Start the tracker on a target in the middle of the picture."""
    width, height = arguments.size
    box = [width * 0.45, height * 0.4, width * 0.1, height * 0.2]
    parameters = {
        'autostart': 'true',
        'init_box': f'[{", ".join(map(str, box))}]',
        'model': arguments.model,
        'engine': arguments.engine,
        'precision': arguments.precision,
        'threads': str(arguments.threads),
        'max_targets': str(max_targets),
    }
    words = [word for item in parameters.items() for word in ('-p', ':='.join(item))]
    command = [sys.executable, '-m', 'hcat_ros.executables', 'tracker_node', '--ros-args', *words]
    # The same profile as in tracker.launch.py.
    environment = {**os.environ, PROFILE: str(ROOT / 'config' / 'fastdds_tracker.xml')}
    return subprocess.Popen([*command, '--log-level', 'warn'], env=environment)


def stop(node: subprocess.Popen[bytes]) -> None:
    """End the node and wait for it."""
    if node.poll() is None:
        node.send_signal(signal.SIGINT)
    try:
        node.wait(10)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()


def memory(process: int) -> dict[str, float]:
    """Return the process's memory in MB (1e6 bytes), empty if the system does not report it.

    'resident' is the sum of 'own', 'files' and 'shared'; 'private' what no other process maps.
    """
    lines = []
    try:
        for file in ('status', 'smaps_rollup'):
            lines += Path(f'/proc/{process}/{file}').read_text().splitlines()
    except OSError:
        return {}
    kilobytes = {line.split(':')[0]: int(line.split()[1]) for line in lines if line[-3:] == ' kB'}
    found = {name: kilobytes[field] for name, field in MEMORY.items()}
    found['private'] = kilobytes['Private_Clean'] + kilobytes['Private_Dirty']
    return {name: value * 1024 / 1e6 for name, value in found.items()}


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has taken, NaN if the system does not report it."""
    try:
        text = Path(f'/proc/{process}/stat').read_text()
    except OSError:
        return float('nan')
    user, system = text.rpartition(')')[2].split()[11:13]  # the process name may contain blanks
    return (int(user) + int(system)) / os.sysconf('SC_CLK_TCK')


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the node several times, measure the last one longer, and return all results."""
    camera = Camera(arguments.size, arguments.fps, arguments.limit)
    starts = []
    try:
        for number in range(arguments.starts):
            camera.latencies.clear()
            began = time.monotonic()
            node = start_node(arguments)

            def until(is_so: Callable[[], bool], what: str) -> float:
                camera.spin(is_so, node, what)  # noqa: B023 called within this round alone
                return time.monotonic() - began  # noqa: B023

            try:
                seen = until(lambda: 'hcat_tracker' in camera.get_node_names(), 'node')
                active = until(lambda: camera.count_subscribers('image') > 0, 'subscription')
                detection = until(lambda: len(camera.latencies) > 0, 'first detection')
                starts.append(Start(seen, active, detection, processor_seconds(node.pid)))
                if number == arguments.starts - 1:
                    first = memory(node.pid)
                    # Images from the start phase do not show the latency of a running tracker.
                    camera.latencies.clear()
                    until(lambda: len(camera.latencies) >= arguments.frames, 'detections')
                    last = memory(node.pid)
            finally:
                stop(node)
    finally:
        latencies = np.array(camera.latencies[: arguments.frames]) * 1e3
        camera.destroy_node()
    return {
        'model': arguments.model,
        'engine': arguments.engine,
        'precision': arguments.precision,
        'threads': arguments.threads,
        'size': list(arguments.size),
        'fps': arguments.fps,
        'frames': arguments.frames,
        'starts': [start._asdict() for start in starts],
        'latency_ms': dict(
            zip(('median', 'p95', 'p99'), np.percentile(latencies, (50, 95, 99)).tolist())
        ),
        'memory_mb': {'first detection': first, f'{arguments.frames} images later': last},
        'goals': GOALS,
    }


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    width, height = found['size']
    threads = found['threads'] or "the engine's own number of"
    title = (
        f'### Whole node over DDS: {found["model"]}, {found["engine"]}, {found["precision"]}, '
        f'{threads} threads, {width}x{height} at {found["fps"]:g} images a second'
    )
    rows = []
    moments = {
        'seen': 'node seen',
        'active': 'engine loaded, subscribed',
        'detection': 'first detection',
        'processor': 'first detection, processor time',
    }
    for name, words in moments.items():
        seconds = [start[name] for start in found['starts']]
        goal = f'{GOALS["start"]:g} s' if name == 'detection' else ''
        rows.append(
            (
                f'start to {words}, median of {len(seconds)} (worst)',
                f'{np.median(seconds):.2f} s ({max(seconds):.2f} s)',
                goal,
            )
        )
    latency = '{median:.1f} ms ({p95:.1f} ms, {p99:.1f} ms)'.format(**found['latency_ms'])
    rows.append(('image to detection, median (95 %, 99 %)', latency, ''))
    for moment, parts in found['memory_mb'].items():
        if parts:
            text = (
                '{resident:.0f} MB ({own:.0f} own, {files:.0f} files, {shared:.0f} shared; '
                '{private:.0f} private)'
            )
            goal = f'{GOALS["memory"]:g} MB'
            rows.append((f'resident memory, {moment}', text.format(**parts), goal))
    return f'{title}\n\n{markdown_table(("", "", "goal"), rows)}'


def main() -> int:
    """Measure the node and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name or folder')
    parser.add_argument('--engine', default='onnxruntime', choices=('auto', *ENGINES))
    parser.add_argument('--precision', default='fp32', help='or int8, ...; auto')
    parser.add_argument('--threads', type=int, default=0)
    parser.add_argument('--starts', type=int, default=5, help='how often the node is started')
    parser.add_argument(
        '--frames', type=int, default=200, help='detections to measure on the last start'
    )
    parser.add_argument('--fps', type=float, default=30.0)
    parser.add_argument('--size', nargs=2, type=int, default=(640, 480), metavar=('W', 'H'))
    parser.add_argument('--limit', type=float, default=60.0, help='seconds to wait for the node')
    parser.add_argument('--json', type=Path, metavar='FILE', help='file for all numbers')
    arguments = parser.parse_args()
    if arguments.starts < 1 or arguments.frames < 1:
        parser.error('--starts and --frames: expected 1 or more')
    try:
        load_model(arguments.model)
    except ModelError as error:
        parser.error(f'--model: {error}')
    take_domain()
    os.environ[PROFILE] = str(ROOT / 'config' / 'fastdds_large_images.xml')  # for the camera
    rclpy.init()
    try:
        found = measure(arguments)
    except RuntimeError as error:
        print(f'bench_node: {error}', file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    print(table(found))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
