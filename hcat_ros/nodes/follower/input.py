# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of the follower: tracks, their camera, depth images and an IMU."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu
from vision_msgs.msg import Detection2D

from hcat_ros.nodes.diagnostics import Refusals
from hcat_ros.nodes.follower.camera import CameraSource
from hcat_ros.nodes.follower.depth import DepthInput
from hcat_ros.nodes.follower.imu import Turning, turning_of
from hcat_ros.nodes.follower.messages import body_frame
from hcat_ros.nodes.input_watch import InputWatch
from hcat_ros.nodes.message_bounds import check_camera_info
from hcat_ros.nodes.one_publisher import OnePublisher
from hcat_ros.nodes.parameter_overrides import useless_qos
from hcat_ros.nodes.qos import LATCHED_QOS
from hcat_ros.nodes.tracker.output import view_topic
from hcat_ros.tracking.stream import CameraView

IMU_QOS = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Deep enough for a sensor with hundreds of messages per second while another callback runs."""
INPUT_QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Best effort, which is compatible with every publisher."""
RATE_SAMPLES = 5
"""Number of tracks whose median interval is compared with stale_timeout."""
Callback = Callable[[Any, Mapping[str, Any]], None]


class FollowInput:
    """The subscriptions of a configured follower node, from activation to deactivation."""

    def __init__(self, node: Node, values: Mapping[str, Any], refusals: Refusals) -> None:
        """Take the parameters' values. Raises ValueError."""
        self.camera = CameraSource(values)
        self._node = node
        self._refusals = refusals
        self._watch = InputWatch(node)
        self._subscriptions: list[Any] = []
        self._uses_imu = bool(values['use_imu'])
        self._compressed_depth = values['depth_transport'] == 'compressedDepth'
        self.depth: DepthInput | None = None
        """Measures the range in depth images; None unless range_mode is depth."""
        self._depth_subscription: Any = None

    def subscribe(
        self,
        on_track: Callback,
        on_turning: Callable[[Turning], str],
        guard: Callable[[Callback], Callback],
    ) -> None:
        """Create the subscriptions.

        on_turning: returns why it refuses measured rotation rates, '' if it accepts them. guard:
        wraps the callbacks of tracks, camera, IMU and depth.
        """
        self._on_turning, self._guard = on_turning, guard
        self._watch.begin()
        self._arrivals: deque[float] = deque(maxlen=RATE_SAMPLES)
        for kind, topic, callback, qos, one in (
            (Detection2D, 'track', on_track, INPUT_QOS, True),
            (CameraInfo, 'camera_info', self._on_camera_info, INPUT_QOS, True),
            (CameraInfo, view_topic(self._node), self._on_view, LATCHED_QOS, False),
            *([(Imu, 'imu', self._on_imu, IMU_QOS, True)] if self._uses_imu else []),
        ):
            subscription = self._watch.subscribe(kind, topic, guard(callback), qos, one)
            self._subscriptions.append(subscription)
        track, node = self.topics[0], self._node
        self._publisher_filter = OnePublisher(lambda: node.count_publishers(track))
        self._watch.tell_all('qos parameters', useless_qos(node))

    def use_depth(self, depth: DepthInput | None) -> None:
        """Subscribe to depth images for `depth`, or unsubscribe if it is None."""
        self.depth = depth
        if (depth is not None) == (self._depth_subscription is not None):
            return
        if depth is None:
            self._watch.drop(self._depth_subscription)
            self._watch.settle('depth')
            self._depth_subscription = None
            return
        kind, suffix = (
            (CompressedImage, '/compressedDepth') if self._compressed_depth else (Image, '')
        )
        # Resolve before appending, so that remapping `depth` also remaps depth/compressedDepth.
        topic = f'{self._node.resolve_topic_name("depth")}{suffix}'
        callback = self._guard(self._on_depth)
        self._depth_subscription = self._watch.subscribe(kind, topic, callback, INPUT_QOS, True)

    def unsubscribe(self) -> None:
        """Destroy all subscriptions."""
        self.use_depth(None)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    @property
    def topics(self) -> tuple[str, str]:
        """The full names of track and camera_info, while subscribed."""
        track, camera_info = (each.topic_name for each in self._subscriptions[:2])
        return track, camera_info

    def accept_track(self, info: Mapping[str, Any], now: float) -> bool:
        """Record the arrival of a track; return whether it is from the tracker that came first.

        info: info of the message. Call once for each track. Where rclpy gives no sequence numbers
        (Humble), every track is accepted.
        """
        accepted = self._publisher_filter.accepts(info, now)
        if accepted:
            self._arrivals.append(now)
        self.camera.clear_alternation(now)
        return accepted

    def frame_of(self, track: Detection2D, camera_frame: str, base_frame: str) -> str:
        """Return the frame at the camera of a track with x forward; warn if it is a guess."""
        frame, doubt = camera_frame.strip('/'), ''
        if not frame:
            frame, doubt = body_frame(track.header.frame_id, base_frame)
        self._watch.tell_all('frame', [doubt] if doubt else [])
        return frame

    def problems(self, stale_timeout: float) -> list[str]:
        """Return the problems of the inputs; each is logged when it begins."""
        self._watch.check_publishers()
        camera = self.camera
        camera.clear_alternation(time.monotonic())
        texts = [camera.problem] if camera.has_input and camera.problem else camera.doubts
        self._watch.tell_all('camera', texts)
        self._watch.tell_all('rate', self._too_slow(stale_timeout))
        if self.depth is not None and self._depth_subscription is not None:
            topic = self._depth_subscription.topic_name
            self._watch.tell_all('depth', self.depth.problems(topic))
        return self._watch.warnings

    def _too_slow(self, stale_timeout: float) -> list[str]:
        if len(self._arrivals) < RATE_SAMPLES:
            return []
        apart = float(np.median(np.diff(self._arrivals)))
        if apart <= stale_timeout:
            return []
        return [
            f'tracks come every {apart:.2f} s, longer than stale_timeout ({stale_timeout:g} s): '
            'the platform stops between them; raise stale_timeout or the rate of the camera'
        ]

    def _on_camera_info(self, message: CameraInfo, info: Mapping[str, Any]) -> None:
        try:
            check_camera_info(message)
            self.camera.take(message, time.monotonic())
        except ValueError as error:
            self._refusals.add('refused camera infos', f'camera_info refused: {error}')

    def _on_depth(self, message: Image | CompressedImage, info: Mapping[str, Any]) -> None:
        if self.depth is not None:
            self.depth.add_image(message)

    def _on_imu(self, message: Imu, info: Mapping[str, Any]) -> None:
        base = str(self._node.get_parameter('base_frame').value)
        try:
            reason = self._on_turning(turning_of(message, base))
        except ValueError as error:
            reason = str(error)
        if reason:
            self._refusals.add('refused imu messages', f'imu refused: {reason}')

    def _on_view(self, message: CameraInfo, info: Mapping[str, Any]) -> None:
        try:
            check_camera_info(message)
            view = CameraView(message.width, message.height, message.header.frame_id)
            self.camera.take_view(view)
        except ValueError as error:
            self._refusals.add('refused views', f'track_view refused: {error}')
