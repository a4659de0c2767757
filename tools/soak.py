# SPDX-License-Identifier: Apache-2.0
"""Soak test of the tracker node: whether memory or latency grow within half an hour.

Starts the tracker node in its own process and publishes images to it over DDS. Drops its target and
names another every few seconds, sometimes sends invalid input, and samples memory, descriptors,
threads and latency. Writes soak.csv and soak.png. Exits with 1 if the node ended, did not take a
target or exceeded a limit.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path
from subprocess import Popen

import numpy as np
import rclpy
from bench_node import PROFILE, ROOT, Camera, memory, start_node, stop
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException
from rclpy.qos import QoSProfile
from ros_domain import take_domain
from sensor_msgs.msg import Image
from soak_report import Limits, Sample, chart, judge, write_csv
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, Detection2DArray

from hcat_ros.boxes import Box
from hcat_ros.engines import ENGINES
from hcat_ros.files.figures import write_figure
from hcat_ros.message_data import image_view
from hcat_ros.models import DEFAULT_MODEL
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message

WARM_UP = 480.0
"""Time that does not count, s. The heap grows in steps of one image, whenever messages overlap more
than before: four steps in the first eight minutes, none in the next twenty-two."""
SHIFTS = 40
"""Number of different pictures; the background moves back and forth by as many pixels."""


class Operator(Camera):
    """A camera with a moving picture, and an operator who names targets every few seconds.

    count: number of targets that are named at the same time.
    """

    def __init__(
        self, size: tuple[int, int], fps: float, limit: float, every: float, count: int = 1
    ) -> None:
        super().__init__(size, fps, limit)
        self.size, self.count = size, count
        picture = image_view(self._message)[0]
        self._pictures = [
            image_message(np.roll(picture, shift, axis=1), 'bgr8') for shift in range(SHIFTS)
        ]
        self.rounds = 0
        self.targets: set[str] = set()
        """Ids of the targets in the detections."""
        self.status: dict[str, str] = {}
        """Last diagnostics of the node."""
        self._sent = 0
        self._random = random.Random(0)
        self._boxes = self.create_publisher(Detection2D, 'init_box', QoSProfile(depth=5))
        self._reset = self.create_client(Trigger, 'hcat_tracker/reset')
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_status, 5)
        if count > 1:
            self.create_subscription(Detection2DArray, 'tracks', self._on_tracks, 5)
        self.create_timer(every, self._next_round)

    def _publish(self) -> None:
        place = self._sent % (2 * SHIFTS - 2)
        self._message = self._pictures[min(place, 2 * SHIFTS - 2 - place)]
        self._sent += 1
        super()._publish()

    def _on_track(self, message: Detection2D) -> None:
        super()._on_track(message)
        self.targets.add(message.id)

    def _on_tracks(self, message: Detection2DArray) -> None:
        self.targets |= {detection.id for detection in message.detections}

    def _on_status(self, message: DiagnosticArray) -> None:
        self.status = {item.key: item.value for item in message.status[0].values}

    def _next_round(self) -> None:
        if not self.targets:
            return  # the node has not started yet
        self.rounds += 1
        # With several targets, there is room for new ones only after a reset.
        drops = self.rounds % 2 or self.count > 1
        if drops and self._reset.service_is_ready():
            # Boxes are sent after the answer, because the node may process services and topics in
            # any order.
            self._reset.call_async(Trigger.Request()).add_done_callback(lambda _: self._name_all())
        else:
            self._name_all()
        if self.rounds % 5 == 0:
            self._annoy()

    def _name_all(self) -> None:
        for _ in range(self.count):
            self._name()

    def _name(self) -> None:
        """Name a target at a random place, every third one on a past frame."""
        width, height = self.size
        w = self._random.uniform(0.08, 0.25) * height
        x, y = self._random.uniform(0, width - w), self._random.uniform(0, height - w)
        message = detection_message(Detection2D().header, Box(x, y, w, w))
        if self.rounds % 3 == 0:
            message.header.stamp = self._message.header.stamp
        self._boxes.publish(message)

    def _annoy(self) -> None:
        """Send input that the node must refuse: an empty box, an image without data."""
        self._boxes.publish(detection_message(Detection2D().header, Box(0, 0, 0, 0)))
        width, height = self.size
        picture = Image(height=height, width=width, encoding='bgr8', step=3 * width)
        picture.header.stamp = self.get_clock().now().to_msg()
        self._images.publish(picture)


def sample(node: Popen[bytes], seconds: float, latencies: list[float]) -> Sample:
    """Return a sample of the node. latencies: those of this interval, s."""
    parts = memory(node.pid)
    status = Path(f'/proc/{node.pid}/status').read_text().splitlines()
    threads = next(int(row.split()[1]) for row in status if row.startswith('Threads:'))
    descriptors = len(os.listdir(f'/proc/{node.pid}/fd'))
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3 if latencies else (np.nan, np.nan)
    return Sample(
        seconds, parts['resident'], parts['shared'], descriptors, threads, len(latencies), p50, p99
    )


def soak(arguments: argparse.Namespace) -> tuple[list[Sample], Operator]:
    """Run the node for the given time or until Ctrl-C. Raises RuntimeError if it ends early."""
    operator = Operator(
        arguments.size, arguments.fps, arguments.limit, arguments.every, arguments.targets
    )
    samples: list[Sample] = []
    node = start_node(arguments, arguments.targets)
    try:
        operator.spin(lambda: bool(operator.latencies), node, 'first detection')
        began = time.monotonic()
        while time.monotonic() - began < 60 * arguments.minutes:
            operator.latencies.clear()
            due = time.monotonic() + arguments.sample
            operator.spin(lambda: time.monotonic() >= due, node, 'sample')  # noqa: B023
            samples.append(sample(node, time.monotonic() - began, operator.latencies))
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # Ctrl-C: the samples so far count
    finally:
        stop(node)
        operator.destroy_node()
    if node.returncode:
        raise RuntimeError(f'the node ended with {node.returncode}')
    return samples, operator


def report(samples: list[Sample], operator: Operator, limits: Limits) -> list[str]:
    """Print the finding, and return the limits that were exceeded."""
    found = judge(samples, limits)
    last = samples[-1]
    detections = sum(item.detections for item in samples)
    problems = list(found.problems)
    # The target of the parameter and those of each round; a busy machine may miss some.
    named = operator.rounds * operator.count
    if len(operator.targets) < 0.8 * named:
        problems.append(f'detections of {len(operator.targets)} targets only, {named} were named')
    print(
        f'{last.seconds / 60:.1f} minutes, {detections} detections '
        f'({detections / last.seconds:.1f} a second) of {len(operator.targets)} targets\n'
        f'resident memory: {last.resident:.1f} MB, of it {last.shared:.1f} shared; slope without '
        f'the shared {found.slope:+.2f} MB an hour (standard error {found.slope_error:.2f}), of '
        f'the shared {found.shared_slope:+.2f}\n'
        f'descriptors: {last.descriptors} ({found.descriptors:+g}), '
        f'threads: {last.threads} ({found.threads:+g})\n'
        f'p99 from image to detection: {found.p99_first:.1f} ms in the first third, '
        f'{found.p99_last:.1f} ms in the last'
    )
    refused = {name: value for name, value in operator.status.items() if name.startswith('refused')}
    counts = ', '.join(f'{name}: {value}' for name, value in refused.items() if 'rate' not in name)
    print(f'the node says {counts or "nothing refused"}')
    return problems


def main() -> int:
    """Run the soak test, print the finding and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=30.0)
    parser.add_argument('--fps', type=float, default=30.0)
    parser.add_argument('--size', nargs=2, type=int, default=(640, 480), metavar=('W', 'H'))
    parser.add_argument('--every', type=float, default=3.0, help='seconds between targets')
    parser.add_argument(
        '--targets', type=int, default=1, help='number of targets to follow at the same time'
    )
    parser.add_argument('--sample', type=float, default=5.0, help='seconds between samples')
    parser.add_argument('--warm-up', type=float, default=WARM_UP, help='seconds that do not count')
    parser.add_argument('--model', default=DEFAULT_MODEL, help='name or folder')
    parser.add_argument('--engine', default='onnxruntime', choices=('auto', *ENGINES))
    parser.add_argument('--precision', default='fp32', help='or int8, ...; auto')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--limit', type=float, default=60.0, help='seconds to wait for the node')
    parser.add_argument('--max-slope', type=float, default=1.0, help='MB an hour')
    parser.add_argument('--max-rise', type=float, default=1.5, help='of p99, last over first third')
    parser.add_argument('--out', type=Path, default=Path('soak'), help='folder to write to')
    arguments = parser.parse_args()
    take_domain()
    os.environ[PROFILE] = str(ROOT / 'config' / 'fastdds_large_images.xml')  # for the camera
    rclpy.init()
    try:
        samples, operator = soak(arguments)
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_csv(samples, arguments.out / 'soak.csv')
        write_figure(arguments.out / 'soak.png', chart(samples, arguments.warm_up))
        limits = Limits(arguments.warm_up, arguments.max_slope, arguments.max_rise)
        problems = report(samples, operator, limits)
    except (RuntimeError, ValueError, OSError) as error:
        problems = [str(error)]
    finally:
        rclpy.try_shutdown()
    for problem in problems:
        print(f'soak: {problem}', file=sys.stderr)
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main())
