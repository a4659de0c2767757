# SPDX-License-Identifier: Apache-2.0
"""Simulates a camera on a moving platform in real time, and publishes the ground truth."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped, Vector3Stamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

from hcat_ros.boxes import Box
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.follower.messages import body_frame
from hcat_ros.nodes.images import depth_message, image_message
from hcat_ros.nodes.lifecycle import run_node
from hcat_ros.nodes.message_bounds import LONGEST_NAME
from hcat_ros.nodes.parameter_overrides import warn_of_useless_overrides
from hcat_ros.nodes.parameters import Setting, Settings
from hcat_ros.nodes.qos import DRAWN_QOS, RELIABLE_QOS
from hcat_ros.nodes.tools.calibration import camera_info_of
from hcat_ros.simulation import (
    PATHS,
    PLATFORMS,
    PlatformCommand,
    Scenario,
    SimFrame,
    Simulation,
    top_view,
)

_DEFAULT = Scenario()
SETTINGS = (
    Setting('path', str, _DEFAULT.path, 'Path of the target.', choices=PATHS),
    Setting(
        'platform',
        str,
        _DEFAULT.platform,
        'Platform that carries the camera.',
        choices=tuple(PLATFORMS),
    ),
    Setting('seed', int, 0, 'Seed of all random numbers.', 0, 2**31 - 1),
    Setting(
        'speed',
        float,
        _DEFAULT.speed,
        "Target speed as a multiple of the platform's top speed (a gimbal's top yaw rate).",
        0,
        3,
    ),
    Setting(
        'pictures',
        str,
        '',
        'Folder with photos/ and cutouts/ (with alpha) for the scene; empty: generated pictures.',
    ),
    Setting(
        'surroundings',
        str,
        _DEFAULT.surroundings,
        'ground: a ground plane below a panorama; panorama: nothing else; auto: panorama for a '
        'gimbal, else ground.',
        choices=('auto', 'ground', 'panorama'),
    ),
    Setting('target_height', float, _DEFAULT.target_height, 'Height of the target [m].', 0.05, 50),
    Setting(
        'start_range',
        float,
        0.0,
        "Range of the target at the start [m]; 0: the platform's default.",
        0,
        200,
    ),
    Setting('distractors', int, 0, "Number of other objects of the target's kind.", 0, 20),
    Setting('width', int, _DEFAULT.width, 'Width of the images, pixels.', 64, 4096),
    Setting('height', int, _DEFAULT.height, 'Height of the images, pixels.', 64, 4096),
    Setting(
        'horizontal_fov',
        float,
        round(_DEFAULT.horizontal_fov, 4),
        'Field of view of the camera from side to side [rad].',
        0.175,
        2.617,
    ),
    Setting('fps', float, _DEFAULT.fps, 'Frames per second.', 1, 240),
    Setting(
        'noise', float, _DEFAULT.noise, 'Standard deviation of pixel noise, grey levels.', 0, 50
    ),
    Setting('exposure', float, _DEFAULT.exposure, 'Exposure time [s]; 0: no motion blur.', 0, 0.1),
    Setting(
        'exposure_change',
        float,
        _DEFAULT.exposure_change,
        'Share by which the brightness rises and falls.',
        0,
        0.8,
    ),
    Setting(
        'depth_range',
        float,
        _DEFAULT.depth_range,
        'Largest range in the images on the topic depth [m].',
        0.5,
        1000,
    ),
    Setting(
        'depth_noise',
        float,
        _DEFAULT.depth_noise,
        'Standard deviation of a depth of 1 m [m]; it grows with the square of the depth.',
        0,
        0.1,
    ),
    Setting(
        'latency',
        float,
        0.0,
        'Seconds from exposure, the time of the stamp, to publication.',
        0,
        2,
    ),
    Setting('stamped', bool, True, 'Type of cmd_vel: true for TwistStamped, false for Twist.'),
    Setting(
        'frame_id',
        str,
        'camera_optical',
        'Frame id in the headers of images.',
        longest=LONGEST_NAME,
    ),
    Setting(
        'init_box',
        bool,
        False,
        "Send the target's box to init_box with the first frame that shows it.",
    ),
    Setting('duration', float, 0.0, 'Simulated seconds until the node ends; 0: never.', 0, 1e6),
    Setting('subscribers', int, 1, 'Number of image subscribers to wait for.', 0, 100),
    Setting(
        'wait',
        float,
        30.0,
        'Seconds to wait for subscribers before the first frame; 0: do not wait.',
        0,
        3600,
    ),
)
SETTLE = 0.5
"""Seconds between discovering the subscribers and the first frame: they discover us later."""
LONGEST_PAUSE = 1.0
"""Most seconds that one step simulates, also after the machine was suspended."""


def command_of(twist: Twist) -> PlatformCommand:
    """Return the command of a Twist; its angular.y is positive down, pitch_rate positive up."""
    linear, angular = twist.linear, twist.angular
    return PlatformCommand(linear.x, linear.y, linear.z, angular.z, -angular.y)


class CameraSim(Node):
    """Subscribes to `cmd_vel` and publishes the camera's images and the ground truth.

    Publishes `image` (bgr8), `camera_info` and `depth` (32FC1, aligned); `truth` (Detection2D: box
    of the target's visible part, its visible share as score; no results while it cannot be seen);
    `truth_bearing` (x: azimuth to the left, y: elevation upwards [rad], z: range [m], in the
    camera's body frame); `top_view`; and once `init_box`, if the parameter is set. The truth is
    published without the latency. `depth` and `top_view` are drawn only for subscribers.

    Raises ValueError or OSError for a scenario that cannot be created.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('camera_sim', **kwargs)
        self._values = values = Settings(self, SETTINGS).values()
        warn_of_useless_overrides(self)
        own = set(Scenario.__dataclass_fields__) - {'start_range'}
        scenario = Scenario(
            start_range=values['start_range'] or None,
            **{name: value for name, value in values.items() if name in own},
        )
        pictures = Path(values['pictures']).expanduser() if values['pictures'] else None
        self.simulation = Simulation(scenario, pictures)
        # Reliable publishers serve reliable and best-effort subscribers.
        images = QoSProfile(depth=2)
        self._images = self.create_publisher(Image, 'image', images)
        self._infos = self.create_publisher(CameraInfo, 'camera_info', images)
        self._init_boxes = self.create_publisher(Detection2D, 'init_box', QoSProfile(depth=1))
        self._truths = self.create_publisher(Detection2D, 'truth', RELIABLE_QOS)
        self._bearings = self.create_publisher(Vector3Stamped, 'truth_bearing', RELIABLE_QOS)
        self._depths = self.create_publisher(Image, 'depth', images)
        self._views = self.create_publisher(Image, 'top_view', DRAWN_QOS)
        kind = TwistStamped if values['stamped'] else Twist
        self.create_subscription(kind, 'cmd_vel', self._on_command, RELIABLE_QOS)
        self._box_due: bool = values['init_box']
        self._waiting: deque[tuple[float, Image, CameraInfo, Image | None, Detection2D | None]]
        self._waiting = deque()
        """Due time (monotonic, s) and messages of frames that have not been published yet."""
        self._last: int | None = None
        """ROS time up to which the simulation has run, ns; None before the start."""
        self._began = self._subscribed = time.monotonic()
        # Timers on the system clock would pause after that clock is set back.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(0.05, self._wait, clock=self._steady)

    def _wait(self) -> None:
        """Start the simulation once the subscribers are there, or the wait is over."""
        now, limit = time.monotonic(), self._values['wait']
        listening = self._images.get_subscription_count() >= self._values['subscribers'] and (
            not self._box_due or self._init_boxes.get_subscription_count() > 0
        )
        if not listening:
            self._subscribed = now
            if now - self._began < limit:
                return
        elif limit > 0 and now - self._subscribed < SETTLE:
            return
        if not listening and limit > 0:
            self.get_logger().warning(
                f'only {self._images.get_subscription_count()} subscribers of images within '
                f'{limit:g} s; starting anyway'
            )
        self._timer.cancel()
        self.destroy_timer(self._timer)
        self._last = self.get_clock().now().nanoseconds
        period = 1.0 / self._values['fps']
        self._timer = self.create_timer(period, self._expose, clock=self._steady)
        if self._values['latency'] > 0:
            self._sender = self.create_timer(0.004, self._send_due, clock=self._steady)
        self._expose()

    def _advance(self) -> int:
        """Run the simulation up to now; return the ROS time, ns."""
        now = self.get_clock().now().nanoseconds
        assert self._last is not None
        # The ROS clock may be set back.
        passed = min(max(0.0, (now - self._last) / 1e9), LONGEST_PAUSE)
        self.simulation.advance(passed)
        self._last = now
        return int(now)

    def _on_command(self, message: Twist | TwistStamped) -> None:
        if self._last is None:
            return
        command = command_of(message.twist if self._values['stamped'] else message)
        self._advance()
        try:
            self.simulation.command(command)
        except ValueError as error:
            self.get_logger().warning(f'cmd_vel refused: {error}', throttle_duration_sec=5.0)

    def _expose(self) -> None:
        """Take a frame now."""
        exposed = time.monotonic()
        now = self._advance()
        frame = self.simulation.frame()
        header = Header(frame_id=self._values['frame_id'])
        header.stamp.sec, header.stamp.nanosec = divmod(now, 10**9)
        self._publish_truth(frame, header)
        image, info = image_message(frame.image, 'bgr8'), camera_info_of(self.simulation.lens)
        image.header = info.header = header
        box = None
        if self._box_due and frame.truth.box is not None:
            box = detection_message(header, frame.truth.box)
            self._box_due = False
        depth = None
        if self._depths.get_subscription_count():
            depth = depth_message(self.simulation.depth())
            depth.header = header
        due = exposed + self._values['latency']
        self._waiting.append((due, image, info, depth, box))
        self._send_due()
        if self._views.get_subscription_count():
            view = image_message(top_view(self.simulation), 'bgr8')
            view.header = header
            self._views.publish(view)
        if 0 < self._values['duration'] <= self.simulation.time:
            self._finish()

    def _send_due(self) -> None:
        """Publish the frames whose latency is over."""
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, image, info, depth, box = self._waiting.popleft()
            self._images.publish(image)
            self._infos.publish(info)
            if depth is not None:
                self._depths.publish(depth)
            if box is not None:
                self._init_boxes.publish(box)

    def _publish_truth(self, frame: SimFrame, header: Header) -> None:
        truth = frame.truth
        message = detection_message(header, truth.box or Box(0.0, 0.0, 0.0, 0.0))
        if truth.box is not None:
            result = ObjectHypothesisWithPose()
            result.hypothesis.class_id = 'target'
            result.hypothesis.score = float(truth.shown)
            message.results = [result]
        self._truths.publish(message)
        bearing = Vector3Stamped()
        bearing.header.stamp = header.stamp
        bearing.header.frame_id = body_frame(header.frame_id, header.frame_id)[0]
        vector = bearing.vector
        vector.x, vector.y, vector.z = (float(value) for value in truth.bearing)
        self._bearings.publish(bearing)

    def _finish(self) -> None:
        pose = self.simulation.platform.pose
        self.get_logger().info(
            f'{self.simulation.time:.1f} s simulated; the platform is at '
            f'{pose.x:.1f}, {pose.y:.1f} m, heading {math.degrees(pose.yaw):.0f} degrees'
        )
        self._timer.cancel()
        # Reliable subscribers may still be fetching the last frame.
        time.sleep(SETTLE)
        self.context.try_shutdown()


def main(args: Sequence[str] | None = None) -> int:
    """Run the simulation, the executable `camera_sim`. Returns 1 if it cannot be created."""
    return run_node(CameraSim, args)


if __name__ == '__main__':
    sys.exit(main())
