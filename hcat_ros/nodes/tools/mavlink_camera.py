# SPDX-License-Identifier: Apache-2.0
"""The tracker as a MAVLink camera: a ground station names the target on its video."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import SetBool
from vision_msgs.msg import Detection2D, Detection2DArray

from hcat_ros import __version__
from hcat_ros.boxes import Box
from hcat_ros.message_data import box_of
from hcat_ros.nodes.diagnostics import Refusals
from hcat_ros.nodes.lifecycle import run_node
from hcat_ros.nodes.message_bounds import MOST_RESULTS, check_camera_info, check_detection
from hcat_ros.nodes.message_info import time_in_queue, with_info
from hcat_ros.nodes.parameter_overrides import warn_of_useless_overrides
from hcat_ros.nodes.parameters import Setting, Settings
from hcat_ros.nodes.qos import LATCHED_QOS, RELIABLE_QOS, overridable
from hcat_ros.nodes.tools.tracker_requests import TrackerRequests
from hcat_ros.nodes.tracker.output import view_topic

try:
    from hcat_ros.mavlink.camera import CameraComponent
    from hcat_ros.mavlink.link import Link, check_endpoint, signing_key
    from hcat_ros.mavlink.messages import CameraIdentity
    from hcat_ros.mavlink.motion import ZERO_PERIOD, MotionOutput, MotionSettings, Rates
    from hcat_ros.mavlink.requests import ImageSize

    MISSING = ''
except ImportError as error:  # pymavlink is optional
    MISSING = str(error)

SETTINGS = (
    Setting(
        'connections',
        str,
        'udpin:127.0.0.1:14560',
        'Connections to ground stations and the autopilot, separated by spaces: '
        'udpin:0.0.0.0:PORT, udpout:HOST:PORT, tcp:HOST:PORT, tcpin:HOST:PORT, '
        '/dev/ttyUSB0,57600.',
    ),
    Setting('system_id', int, 1, 'MAVLink system id of the vehicle.', 1, 255),
    Setting('component_id', int, 100, 'MAVLink component id of the camera.', 100, 105),
    Setting('tracker', str, 'hcat_tracker', 'Name of the tracker node, in this namespace or full.'),
    Setting('camera_name', str, 'HCAT tracker', 'Name of the camera in the ground station.'),
    Setting(
        'video_uri',
        str,
        '',
        'Address of the video for ground stations, such as rtsp://HOST:8554/camera; empty: none is '
        'sent to them.',
    ),
    Setting(
        'horizontal_fov',
        float,
        0.0,
        'Field of view of the camera from side to side [rad], for ground stations; 0: unknown.',
        0,
        6.29,
    ),
    Setting(
        'video_latency',
        float,
        0.0,
        'Delay of the video at the operator [s]: a target is named on the image that the operator '
        "saw, which the tracker's buffer_mb must still hold. 0: on the newest image.",
        0,
        10,
    ),
    Setting(
        'status_rate',
        float,
        5.0,
        'Tracking statuses per second, unless a station asks for another rate.',
        0,
        50,
    ),
    Setting(
        'point_size',
        float,
        0.1,
        "Side of the box around a tapped point, as a share of the image's height, if no detection "
        'contains the point.',
        0.01,
        1,
    ),
    Setting(
        'motion',
        str,
        'none',
        "Destination of a follower's cmd_vel. none: nowhere; gimbal: rates for a gimbal manager; "
        'velocity: velocities for the autopilot.',
        choices=('none', 'gimbal', 'velocity'),
    ),
    Setting(
        'motion_component',
        int,
        1,
        'Component id of the gimbal manager or the autopilot.',
        1,
        255,
    ),
    Setting(
        'motion_stamped',
        bool,
        True,
        'Type of cmd_vel: true for TwistStamped, as the follower sends it, false for Twist.',
    ),
    Setting(
        'motion_timeout',
        float,
        0.5,
        'Seconds without cmd_vel after which the node sends zero.',
        0.05,
        5,
    ),
    Setting('motion_max_speed', float, 2.0, 'Largest speed in each direction, m/s.', 0, 30),
    Setting('motion_max_rate', float, 1.0, 'Largest rate about each axis, rad/s.', 0, 10),
)
KEY_VARIABLE = 'HCAT_MAVLINK_KEY'
"""Environment variable with the passphrase for signing: everybody can read parameters."""
PERIOD = 0.02
"""Seconds between two checks of what has to be sent."""
TRACK_LASTS = 2.0
"""Seconds without a track after which the target counts as gone."""
MOST_CONNECTIONS = 8
LAST_ZEROS = 2
"""Zero commands after the first one when the node ends, 0.05 s apart: messages can get lost."""


class MavlinkCamera(Node):
    """Answers MAVLink's camera protocol for a tracker, and sends a follower's commands out.

    Raises ValueError for parameters that cannot be used, RuntimeError if pymavlink is missing.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('mavlink_camera', **kwargs)
        if MISSING:
            raise RuntimeError(MISSING)
        values = Settings(self, SETTINGS).values()
        warn_of_useless_overrides(self)
        endpoints = values['connections'].split()
        if not 0 < len(endpoints) <= MOST_CONNECTIONS:
            raise ValueError(
                f'connections has {len(endpoints)} endpoints: expected 1 to {MOST_CONNECTIONS}'
            )
        for endpoint in endpoints:
            check_endpoint(endpoint)
        self._latency = round(values['video_latency'] * 1e9)
        # Each level has a source line of its own: rclpy raises if one line logs at two levels.
        self._lines = Refusals(lambda line: self.get_logger().info(line))
        self._refusals = Refusals(lambda line: self.get_logger().warning(line))
        self._requests = TrackerRequests(self, values['tracker'])
        self._track_time = -TRACK_LASTS
        self._target_id = self._dropped_id = ''
        """Ids of the last track's target and of the target that was dropped last."""
        major, minor, patch = (int(part) for part in __version__.split('.')[:3])
        identity = CameraIdentity(
            system=values['system_id'],
            model=values['camera_name'],
            component=values['component_id'],
            version=(major, minor, patch),
            **{
                name: values[name]
                for name in ('video_uri', 'horizontal_fov', 'status_rate', 'point_size')
            },
        )
        self.camera = CameraComponent(identity, self, self._send, self._log, time.monotonic())
        self._motion = self._make_motion(values)
        self._subscribe()
        source, key = (identity.system, identity.component), os.environ.get(KEY_VARIABLE, '')
        self._links: list[Link] = []
        for endpoint in endpoints:
            link = Link(
                endpoint,
                source,
                self._receive,
                self.get_logger().info,
                signing_key(key) if key else b'',
            )
            self.camera.add_link(link)
            self._links.append(link)
        # A steady clock, because simulated time may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(PERIOD, self._advance, clock=steady)
        self._ends = threading.Event()
        self._dead_man = threading.Thread(target=self._watch_motion, name='dead man', daemon=True)
        if self._motion is not None:
            self._dead_man.start()

    def _make_motion(self, values: dict[str, Any]) -> Any:
        """Create the motion output with `cmd_vel` and `~/hold`; return None if motion is none."""
        if values['motion'] == 'none':
            return None
        settings = MotionSettings(
            values['motion'],
            (values['system_id'], values['motion_component']),
            (values['system_id'], values['component_id']),
            values['motion_timeout'],
            values['motion_max_speed'],
            values['motion_max_rate'],
        )
        kind = TwistStamped if values['motion_stamped'] else Twist
        options = overridable()
        self.create_subscription(
            kind,
            'cmd_vel',
            with_info(self._on_command),
            copy(RELIABLE_QOS),
            qos_overriding_options=options,
        )
        self.create_service(SetBool, '~/hold', self._on_hold)
        self.get_logger().info(
            f'{settings.mode} output is on hold; to release it: ros2 service call '
            f'{self.get_fully_qualified_name()}/hold std_srvs/srv/SetBool "{{data: false}}"'
        )
        return MotionOutput(settings, lambda message: self._send(None, message), self._log)

    def _subscribe(self) -> None:
        self.create_subscription(CameraInfo, view_topic(self), self._on_view, copy(LATCHED_QOS))
        for kind, topic, callback in (
            (Detection2D, 'track', self._on_track),
            (Detection2DArray, 'detections', self._on_detections),
        ):
            options = overridable()
            self.create_subscription(
                kind, topic, callback, copy(RELIABLE_QOS), qos_overriding_options=options
            )

    def destroy_node(self) -> None:
        """Stop the motion and close the links, then destroy the node."""
        motion, dead_man = getattr(self, '_motion', None), getattr(self, '_dead_man', None)
        if motion is not None:
            motion.hold(True, time.monotonic())
            if dead_man is not None and dead_man.is_alive():
                self._ends.set()
                dead_man.join(1.0)
            for _ in range(LAST_ZEROS):
                time.sleep(ZERO_PERIOD)
                motion.advance(time.monotonic())  # sends zero once more, if it has just stopped
        with ThreadPoolExecutor(MOST_CONNECTIONS) as pool:  # a slow link does not delay the others
            for link in getattr(self, '_links', []):
                pool.submit(link.close)
        super().destroy_node()

    # Requests of the camera to the tracker, on a link's thread

    def name_target(self, box: Box) -> Future[str]:
        """Name a target on the image that the operator saw."""
        stamp = 0
        if self._latency:
            stamp = max(self.get_clock().now().nanoseconds - self._latency, 0)
        return self._requests.name_target(stamp, box)

    def drop_targets(self) -> Future[str]:
        """Drop all targets."""
        answer = self._requests.reset()
        answer.add_done_callback(self._forget_target)
        return answer

    def _forget_target(self, answer: Future[str]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._dropped_id = self._target_id
            self.camera.set_target(None)

    # Messages to and from the links

    def _send(self, link: Any, message: Any) -> None:
        for one in self._links if link is None else (link,):
            one.send(message)

    def _receive(self, link: Any, message: Any) -> None:
        self.camera.receive(link, message, time.monotonic())
        if self._motion is not None:
            self._motion.receive(message)

    def _log(self, line: str) -> None:
        self._lines.add('lines', line)

    def _advance(self) -> None:
        now = time.monotonic()
        if now - self._track_time > TRACK_LASTS:
            self.camera.set_target(None)
        self.camera.advance(now)

    def _watch_motion(self) -> None:
        """Stop the motion when commands stop coming, even while a callback blocks the executor.

        This runs on a thread of its own, because a large message on any topic blocks the executor.
        """
        opened = 0
        while not self._ends.wait(PERIOD):
            try:
                before, opened = opened, sum(link.times_opened for link in self._links)
                if opened > before:  # the other side may have restarted
                    self._motion.renew_control(time.monotonic())
                self._motion.advance(time.monotonic())
            except Exception as error:  # nothing may end this thread, nor may its logger
                with suppress(Exception):
                    self._refusals.add('failed checks', f'the dead man goes on after: {error}')

    # ROS callbacks

    def _on_view(self, message: CameraInfo) -> None:
        try:
            check_camera_info(message)
        except ValueError as error:
            self._refusals.add('refused views', f'track_view refused: {error}')
            return
        if message.width and message.height:
            self.camera.set_size(ImageSize(message.width, message.height))

    def _on_track(self, message: Detection2D) -> None:
        box = box_of(message)
        try:
            check_detection(message)
            if not all(map(math.isfinite, box)):
                raise ValueError(f'box {tuple(box)}: expected finite numbers')
        except ValueError as error:
            self._refusals.add('refused tracks', f'track refused: {error}')
            return
        if message.id and message.id == self._dropped_id:
            return  # it was on its way when the target was dropped
        self._target_id, self._track_time = message.id, time.monotonic()
        self.camera.set_target(box, is_lost=not message.results)

    def _on_detections(self, message: Detection2DArray) -> None:
        boxes = [box_of(detection) for detection in message.detections[:MOST_RESULTS]]
        good = [box for box in boxes if all(map(math.isfinite, box)) and box.w >= 1 and box.h >= 1]
        self.camera.set_detections(good, time.monotonic())

    def _on_command(self, message: Twist | TwistStamped, info: Mapping[str, Any]) -> None:
        now, waited = time.monotonic(), time_in_queue(info)
        twist = message.twist if isinstance(message, TwistStamped) else message
        linear, angular = twist.linear, twist.angular
        self._motion.command(Rates(linear.x, linear.y, linear.z, angular.z, angular.y), now, waited)

    def _on_hold(self, request: Any, response: Any) -> Any:
        changes = self._motion.is_held != request.data
        self._motion.hold(request.data, time.monotonic())
        response.success = True
        response.message = 'on hold' if request.data else 'commands are sent on'
        if changes:
            self.get_logger().warning(f'motion output: {response.message}')
        return response


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, the executable `mavlink_camera`. Returns 1 if it cannot be created."""
    return run_node(MavlinkCamera, args)


if __name__ == '__main__':
    sys.exit(main())
