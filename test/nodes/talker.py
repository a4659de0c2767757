# SPDX-License-Identifier: Apache-2.0
"""A tracker node, and a node that publishes to it and records its output, over real DDS."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from hcat_ros.boxes import Box
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import compressed_message, image_message
from hcat_ros.nodes.tracker.node import TrackerNode

SIZE = (240, 320)
TARGET = Box(100.0, 80.0, 48.0, 40.0)
STEP = (3.0, 2.0)
"""Pixels that the target moves from frame to frame."""
RELIABLE = QoSProfile(depth=50)


def scene(number: int) -> np.ndarray:
    """Return frame `number` of a textured target that moves over a textured ground, BGR."""
    rng = np.random.default_rng(7)
    ground = rng.integers(60, 120, (SIZE[0] // 8, SIZE[1] // 8, 3)).repeat(8, 0).repeat(8, 1)
    target = rng.integers(0, 256, (5, 6, 3)).repeat(8, 0).repeat(8, 1)
    x, y = (round(TARGET[i] + number * STEP[i]) for i in (0, 1))
    frame = ground.astype(np.uint8)
    frame[y : y + 40, x : x + 48] = target
    return frame


def grainy(picture: np.ndarray, number: int) -> np.ndarray:
    """Return the picture with sensor noise that differs for every number."""
    noise = np.random.default_rng(number).integers(0, 3, picture.shape, np.uint8)
    return np.asarray(np.minimum(picture, 252) + noise, np.uint8)


def truth(number: int) -> Box:
    """Return the target's box in frame `number`."""
    return Box(TARGET.x + number * STEP[0], TARGET.y + number * STEP[1], TARGET.w, TARGET.h)


def stamp(number: int) -> Time:
    """Return the stamp of frame `number`, at 20 frames a second."""
    return Time(sec=1000 + number // 20, nanosec=number % 20 * 50_000_000)


def count_matched(node: Any, topic: str) -> int:
    """Return how many subscriptions a node's publisher of a topic is matched with."""
    name = node.resolve_topic_name(topic)
    (publisher,) = (one for one in node.publishers if one.topic_name == name)
    return int(publisher.get_subscription_count())


class Talker:
    """Publishes to a tracker node and records the messages that it publishes."""

    def __init__(self, transport: str = 'raw', namespace: str = '', **parameters: Any) -> None:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        overrides.append(Parameter('image_transport', value=transport))
        self.compressed = transport == 'compressed'
        self.tracker = TrackerNode(namespace=namespace, parameter_overrides=overrides)
        self.node = rclpy.create_node('talker', namespace=namespace)
        self.number = 0
        """Number of the last frame of a stream; its stamps never go back."""
        self.tracks: list[Detection2D] = []
        self.diagnostics: list[DiagnosticArray] = []
        node = self.node
        topic, kind = ('image/compressed', CompressedImage) if self.compressed else ('image', Image)
        self.images = node.create_publisher(kind, topic, RELIABLE)
        self.boxes = node.create_publisher(Detection2D, 'init_box', RELIABLE)
        self.detections = node.create_publisher(Detection2DArray, 'detections', RELIABLE)
        node.create_subscription(Detection2D, 'track', self.tracks.append, RELIABLE)
        node.create_subscription(DiagnosticArray, '/diagnostics', self.diagnostics.append, RELIABLE)
        self.reset_client = node.create_client(Trigger, 'hcat_tracker/reset')
        self.state_client = node.create_client(ChangeState, 'hcat_tracker/change_state')
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.tracker)
        self.executor.add_node(node)

    def spin(self, until: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
        """Spin until a condition holds; fail with `what` in the message after `timeout` s."""
        deadline = time.monotonic() + timeout
        while not until():
            assert time.monotonic() < deadline, f'in {timeout:g} s not seen: {what}'
            self.executor.spin_once(timeout_sec=0.05)

    def spin_for(self, seconds: float) -> None:
        """Spin for this many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def start(self) -> None:
        """Bring the node up and wait until DDS has connected everything."""
        self.tracker.start()
        assert self.tracker.state_label == 'active'
        self.spin(self.connected, 'connections')

    def connected(self) -> bool:
        """Whether all topics are matched both ways."""
        publishers = (self.images, self.boxes, self.detections)
        return (
            all(p.get_subscription_count() > 0 for p in publishers)
            and self.tracker.count_publishers('track') > 0
            and self.node.count_publishers('track') > 0
        )

    def send(self, number: int) -> None:
        """Publish frame `number` and wait until the node has received it."""
        frame = scene(number)
        message: Any = (
            compressed_message(frame, 95) if self.compressed else image_message(frame, 'bgr8')
        )
        self.send_message(message, stamp(number))

    def send_message(self, message: Any, at: Time, frame_id: str = 'front') -> None:
        """Publish an image and wait until the node has received it."""
        message.header.stamp = at
        message.header.frame_id = frame_id
        seen = self.images_seen()
        self.images.publish(message)
        self.spin(lambda: self.images_seen() > seen, f'image {at}')

    def images_seen(self) -> int:
        """Return the number of images that the node has received."""
        return self.tracker.refusals.statistics.counts['images']

    def status(self) -> DiagnosticStatus:
        """Return the newest diagnostics, or an empty status if none have been received."""
        return self.diagnostics[-1].status[0] if self.diagnostics else DiagnosticStatus()

    def name_target(self, box: Box, at: Time | None = None, class_id: str = '') -> None:
        """Publish an init box; `at`: stamp of its frame, the newest frame if None."""
        message = detection_message(Detection2D().header, box)
        if at is not None:
            message.header.stamp = at
        if class_id:
            message.results = [ObjectHypothesisWithPose()]
            message.results[0].hypothesis.class_id = class_id
        self.boxes.publish(message)
        self.spin_for(0.2)

    def call(self, client: Any, request: Any) -> Any:
        """Call a service and return its response."""
        self.spin(client.service_is_ready, 'service')
        future = client.call_async(request)
        self.spin(future.done, 'response')
        return future.result()

    def change(self, transition: int = 0, label: str = '') -> bool:
        """Request a lifecycle transition over the service; return whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id, request.transition.label = transition, label
        return bool(self.call(self.state_client, request).success)

    def set(self, name: str, value: Any) -> Any:
        """Set a parameter of the node; return the result."""
        return self.tracker.set_parameters([Parameter(name, value=value)])[0]

    def close(self) -> None:
        """Destroy the nodes."""
        self.executor.shutdown()
        self.tracker.destroy_node()
        self.node.destroy_node()
