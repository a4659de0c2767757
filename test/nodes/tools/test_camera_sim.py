# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='an engine runs here')


rclpy = pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from geometry_msgs.msg import Twist, TwistStamped, Vector3Stamped
from rclpy.clock import ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import iou
from hcat_ros.engines import load_engine
from hcat_ros.message_data import box_of, depth_view, image_view, nanoseconds
from hcat_ros.nodes.tools.camera_sim import CameraSim, command_of
from hcat_ros.simulation import PLATFORMS, Scenario, Simulation
from hcat_ros.tracking import Tracker

SMALL = {'width': 160, 'height': 120, 'fps': 20.0}
RELIABLE = QoSProfile(depth=200)


class Viewer:
    """A simulated camera, and a node that records its messages and commands the platform."""

    def __init__(self, **parameters: Any) -> None:
        values = {**SMALL, 'wait': 20.0, **parameters}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.sim = CameraSim(parameter_overrides=overrides)
        self.node = node = rclpy.create_node('viewer')
        self.images: list[Image] = []
        self.arrivals: list[int] = []
        self.infos: list[CameraInfo] = []
        self.truths: list[Detection2D] = []
        self.bearings: list[Vector3Stamped] = []
        self.init_boxes: list[Detection2D] = []
        node.create_subscription(CameraInfo, 'camera_info', self.infos.append, RELIABLE)
        node.create_subscription(Detection2D, 'truth', self.truths.append, RELIABLE)
        node.create_subscription(Vector3Stamped, 'truth_bearing', self.bearings.append, RELIABLE)
        node.create_subscription(Detection2D, 'init_box', self.init_boxes.append, RELIABLE)
        node.create_subscription(Image, 'image', self._on_image, RELIABLE)
        kind = TwistStamped if values.get('stamped', True) else Twist
        self.commands = node.create_publisher(kind, 'cmd_vel', RELIABLE)
        self.executor = SingleThreadedExecutor()
        for each in (self.sim, node):
            self.executor.add_node(each)

    def _on_image(self, image: Image) -> None:
        self.arrivals.append(self.node.get_clock().now().nanoseconds)
        self.images.append(image)

    def spin(self, until: Callable[[], bool], what: str, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not until():
            assert time.monotonic() < deadline, f'in {timeout:g} s not seen: {what}'
            self.executor.spin_once(timeout_sec=0.02)

    def drive(self, seconds: float, **velocities: float) -> None:
        """Send a command at 20 Hz for this many seconds of simulated time."""
        twist = Twist()
        for name, value in velocities.items():
            part, axis = name.split('_')
            setattr(getattr(twist, part), axis, value)
        message = TwistStamped(twist=twist) if self.commands.msg_type is TwistStamped else twist
        end = self.sim.simulation.time + seconds
        while self.sim.simulation.time < end:
            self.commands.publish(message)
            pause = time.monotonic() + 0.05
            while time.monotonic() < pause:
                self.executor.spin_once(timeout_sec=0.01)

    def close(self) -> None:
        self.executor.shutdown()
        self.sim.destroy_node()
        self.node.destroy_node()


@pytest.fixture
def watch(ros: None) -> Iterator[Callable[..., Viewer]]:
    made: list[Viewer] = []

    def make(**parameters: Any) -> Viewer:
        made.append(Viewer(**parameters))
        return made[-1]

    yield make
    for viewer in made:
        viewer.close()


def test_images_are_published_with_calibration_and_ground_truth(
    watch: Callable[..., Viewer],
) -> None:
    viewer = watch(platform='drone', seed=3, init_box=True)
    viewer.spin(lambda: len(viewer.images) >= 15 and len(viewer.bearings) >= 15, '15 images')
    viewer.spin(lambda: len(viewer.infos) >= 15, '15 calibrations')
    stamps = [nanoseconds(image.header.stamp) for image in viewer.images]
    for others in (viewer.infos, viewer.truths, viewer.bearings):
        assert [nanoseconds(other.header.stamp) for other in others][:15] == stamps[:15]
    assert all(image.header.frame_id == 'camera_optical' for image in viewer.images)
    assert viewer.bearings[0].header.frame_id == 'camera'

    pixels, encoding = image_view(viewer.images[0])
    assert (encoding, pixels.shape) == ('bgr8', (120, 160, 3))
    scenario = Scenario(platform='drone', seed=3, width=160, height=120)
    first = Simulation(scenario).frame()
    assert np.abs(pixels.astype(int) - first.image).mean() < 1, 'the scenario asked for'

    info = viewer.infos[0]
    assert (info.width, info.height, info.distortion_model) == (160, 120, 'plumb_bob')
    assert list(info.d) == [0.0] * 5
    assert info.k.reshape(3, 3) == pytest.approx(scenario.lens.matrix, rel=1e-4)
    assert info.p.reshape(3, 4)[:, :3] == pytest.approx(info.k.reshape(3, 3))

    assert first.truth.box is not None
    assert tuple(box_of(viewer.truths[0])) == pytest.approx(tuple(first.truth.box), abs=0.5)
    assert viewer.truths[0].results[0].hypothesis.score > 0.95
    assert viewer.bearings[0].vector.z == pytest.approx(first.truth.bearing.range, abs=0.05)
    assert len(viewer.init_boxes) == 1
    assert nanoseconds(viewer.init_boxes[0].header.stamp) == stamps[0]
    assert box_of(viewer.init_boxes[0]) == box_of(viewer.truths[0])
    # The calibration and the truth agree: K projects the bearing to the centre of the box.
    for box, bearing in zip(map(box_of, viewer.truths[:15]), viewer.bearings):
        across = math.tan(bearing.vector.x)
        assert info.k[2] + 0.5 - info.k[0] * across == pytest.approx(box.cx, abs=1)


def test_simulation_runs_in_real_time(watch: Callable[..., Viewer]) -> None:
    viewer = watch()
    viewer.spin(lambda: len(viewer.images) >= 25, '25 images')
    stamps = np.array([nanoseconds(image.header.stamp) for image in viewer.images]) / 1e9
    # On a busy machine frames may be late or left out, never early.
    assert np.median(np.diff(stamps)) > 0.9 / 20
    passed = viewer.sim.simulation.time
    assert passed == pytest.approx(stamps[-1] - stamps[0], abs=0.2)
    assert abs(time.time() - stamps[-1]) < 2


@pytest.mark.parametrize('latency', [0.0, 0.1])
def test_images_are_published_even_if_the_ros_clock_stands_still(
    watch: Callable[..., Viewer], latency: float
) -> None:
    """Simulated time that stands still blocks timers, as a system clock that is set back does."""
    viewer = watch(latency=latency, use_sim_time=True)
    began = time.monotonic()
    viewer.spin(lambda: len(viewer.images) >= 10, '10 images')
    assert time.monotonic() - began > 0.9 * 9 / SMALL['fps']
    assert {nanoseconds(image.header.stamp) for image in viewer.images} == {0}, 'of that clock'


def test_delayed_frames_are_sent_after_the_clock_is_set_back(
    watch: Callable[..., Viewer],
) -> None:
    viewer = watch(latency=0.2, use_sim_time=True)
    clock = viewer.sim.get_clock()

    def sees(seconds: int) -> Callable[[], bool]:
        clock.set_ros_time_override(Time(seconds=seconds, clock_type=ClockType.ROS_TIME))
        return lambda: any(image.header.stamp.sec == seconds for image in viewer.images)

    viewer.spin(sees(1000), 'an image')
    viewer.images.clear()
    viewer.spin(sees(10), 'an image from after it')
    assert viewer.images[0].header.stamp.sec == 1000, 'that were under way'


@pytest.mark.parametrize('stamped', [True, False])
def test_platform_follows_commands_and_stops_without_them(
    watch: Callable[..., Viewer], stamped: bool
) -> None:
    viewer = watch(stamped=stamped, speed=0.0)
    viewer.spin(lambda: len(viewer.images) > 2, 'images')
    before = viewer.bearings[-1].vector
    viewer.drive(1.0, linear_x=1.0, angular_z=0.5)
    pose = viewer.sim.simulation.platform.pose
    assert 0.3 < pose.x < 1.5
    assert pose.yaw > 0.1
    count = len(viewer.bearings)
    viewer.spin(lambda: len(viewer.bearings) > count, 'a bearing')
    after = viewer.bearings[-1].vector
    assert after.x < before.x - 0.1, 'to the left is away from what stands still: azimuth falls'
    assert after.z < before.z - 0.2
    # Without commands the watchdog stops the platform.
    viewer.spin(lambda: viewer.sim.simulation.platform.velocity.forward < 0.01, 'a stop')
    silence = viewer.sim.simulation.time
    assert silence > PLATFORMS['ground'].watchdog


def test_positive_twist_pitch_is_downwards_as_in_rep_103() -> None:
    twist = Twist()
    twist.linear.x, twist.linear.y, twist.linear.z = 1.0, 2.0, 3.0
    twist.angular.y, twist.angular.z = 0.4, 0.5
    assert command_of(twist) == (1.0, 2.0, 3.0, 0.5, -0.4)


def test_a_gimbal_looks_up_for_a_negative_rotation(watch: Callable[..., Viewer]) -> None:
    viewer = watch(platform='gimbal', speed=0.0)
    viewer.spin(lambda: len(viewer.images) > 2, 'images')
    viewer.drive(0.5, angular_y=-0.5)
    assert viewer.sim.simulation.platform.pose.pitch > 0.05


def test_latency_delays_the_image_and_not_its_stamp(watch: Callable[..., Viewer]) -> None:
    viewer = watch(latency=0.3)
    viewer.spin(lambda: len(viewer.images) >= 15, '15 images')
    stamps = [nanoseconds(image.header.stamp) for image in viewer.images]
    ages = [(at - stamp) / 1e9 for at, stamp in zip(viewer.arrivals, stamps)]
    assert min(ages) >= 0.3
    assert np.median(ages) < 0.45
    # The frame rate is unchanged, and the ground truth is not delayed.
    assert np.median(np.diff(stamps)) < 1.7e9 / 20
    assert nanoseconds(viewer.truths[-1].header.stamp) > stamps[-1]


def test_truth_of_a_target_out_of_view_has_no_result(watch: Callable[..., Viewer]) -> None:
    viewer = watch(speed=0.0)
    viewer.spin(lambda: len(viewer.images) > 2, 'images')
    viewer.drive(2.0, angular_z=1.5)
    viewer.spin(lambda: not viewer.truths[-1].results, 'the target gone')
    truth = viewer.truths[-1]
    assert (truth.bbox.size_x, truth.bbox.size_y) == (0, 0)
    assert abs(viewer.bearings[-1].vector.x) > math.radians(35), 'it still is somewhere'


def test_non_finite_commands_are_refused_and_images_continue(
    watch: Callable[..., Viewer],
) -> None:
    viewer = watch()
    viewer.spin(lambda: len(viewer.images) > 2, 'images')
    viewer.drive(0.3, linear_x=math.nan)
    viewer.drive(0.3, angular_z=math.inf)
    count = len(viewer.images)
    viewer.spin(lambda: len(viewer.images) > count + 3, 'more images')
    assert viewer.sim.simulation.platform.pose == Simulation(Scenario()).platform.pose


def test_top_view_is_published_for_subscribers(watch: Callable[..., Viewer]) -> None:
    viewer = watch()
    views: list[Image] = []
    viewer.node.create_subscription(Image, 'top_view', views.append, 1)
    viewer.spin(lambda: bool(views), 'a view')
    assert image_view(views[0])[0].shape == (480, 480, 3)


def test_tracker_follows_the_simulated_target(watch: Callable[..., Viewer]) -> None:
    viewer = watch(init_box=True, seed=1, speed=0.3, width=320, height=240)
    viewer.spin(lambda: len(viewer.images) >= 25 and bool(viewer.init_boxes), '25 images')
    tracker = Tracker(load_engine('hcat_base', precision='fp32'))
    pixels, encoding = image_view(viewer.images[0])
    tracker.init(pixels, box_of(viewer.init_boxes[0]), encoding)
    truths = {nanoseconds(truth.header.stamp): truth for truth in viewer.truths}
    for image in viewer.images[1:25]:
        box = tracker.update(*image_view(image)).box
        assert iou(box, box_of(truths[nanoseconds(image.header.stamp)])) > 0.5


def start(*parameters: str) -> subprocess.Popen[str]:
    words = [word for parameter in parameters for word in ('-p', parameter)]
    command = [sys.executable, '-m', 'hcat_ros.executables', 'camera_sim', '--ros-args', *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize(
    ('parameter', 'reason'),
    [
        ('path:=spiral', "path 'spiral': expected straight or zigzag"),
        ('pictures:=/nowhere', 'no images in /nowhere/photos'),
        ('fps:=0.0', 'fps out of range'),
        ('start_range:=0.5', 'start_range 0.5: expected 1 to 200 m'),
    ],
)
def test_invalid_scenario_is_reported(ros: None, parameter: str, reason: str) -> None:
    process = start(parameter)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert reason in output
    assert 'Traceback' not in output


def test_simulation_ends_after_its_duration_or_on_a_signal(ros: None) -> None:
    small = [f'{name}:={value}' for name, value in SMALL.items()]
    ended = start(*small, 'wait:=0.0', 'duration:=1.0')
    output = ended.communicate(timeout=60)[0]
    assert ended.returncode == 0, output
    assert 's simulated; the platform is at 0.0, 0.0 m' in output
    told = start(*small, 'wait:=60.0')
    node = rclpy.create_node('looker')
    deadline = time.monotonic() + 60
    while node.count_publishers('image') == 0 and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    node.destroy_node()
    told.send_signal(signal.SIGINT)
    output = told.communicate(timeout=30)[0]
    assert told.returncode == 0, output
    assert 'Traceback' not in output


def test_depth_is_published_aligned_with_the_image(watch: Callable[..., Viewer]) -> None:
    viewer = watch(platform='ground', width=160, height=120)
    depths: list[Image] = []
    viewer.node.create_subscription(Image, 'depth', depths.append, 10)
    viewer.spin(lambda: bool(depths) and bool(viewer.truths), 'depth')
    view = depth_view(depths[-1])
    assert view.pixels.shape == (120, 160)
    assert depths[-1].header.frame_id == 'camera_optical'
    stamps = [message.header.stamp for message in viewer.truths]
    assert depths[-1].header.stamp in stamps
