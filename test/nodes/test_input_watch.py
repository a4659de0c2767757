# SPDX-License-Identifier: Apache-2.0
"""Log messages about missing or unusable input, over real DDS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PointStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image
from talker import TARGET, Talker, scene, stamp
from vision_msgs.msg import Detection2D

from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.qos import IMAGE_QOS

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
Capture = pytest.CaptureFixture[str]


class Log:
    """Collects what the nodes have logged so far."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.text = ''

    def count(self, words: str) -> int:
        self.text += self.capture.readouterr().err
        return self.text.count(words)


@pytest.fixture
def log(capfd: Capture) -> Log:
    return Log(capfd)


def test_missing_images_are_reported_once_per_reason(talk: Callable[..., Talker], log: Log) -> None:
    talker = talk(transport='compressed')
    other = talker.node.create_publisher(Image, '/front/image_raw', 1)
    talker.start()
    talker.node.destroy_publisher(talker.images)
    silent = '/image/compressed: no image for 2 s: '
    talker.spin(lambda: log.count(silent + 'nobody publishes it') > 0, 'the warning')
    talker.images = talker.node.create_publisher(CompressedImage, '/image/compressed', 5)
    talker.node.destroy_publisher(other)
    talker.spin(lambda: log.count(silent + '/talker sends no images') > 0, 'why now')
    talker.spin_for(1.2)
    assert log.count(silent) == 2, log.text
    talker.spin(talker.connected, 'connection')
    talker.send(0)
    talker.spin(lambda: log.count('/image/compressed: images arrive again') == 1, 'the end of it')


def test_missing_images_warning_names_other_image_topics(
    talk: Callable[..., Talker], log: Log
) -> None:
    talker = talk()
    talker.node.create_publisher(Image, '/front/image_raw', 1)
    talker.tracker.start()
    talker.node.destroy_publisher(talker.images)
    words = 'nobody publishes it; sensor_msgs/msg/Image is on /front/image_raw'
    talker.spin(lambda: log.count(words) == 1, 'the topic')


def test_images_of_the_wrong_message_type_are_reported(
    talk: Callable[..., Talker], log: Log
) -> None:
    talker = talk()
    talker.tracker.start()
    talker.node.destroy_publisher(talker.images)
    # A second context stands for another process: one process cannot use two types on a topic.
    context = rclpy.Context()
    rclpy.init(context=context)
    camera = rclpy.create_node('camera', context=context)
    camera.create_publisher(CompressedImage, '/image', 1)
    words = 'published as sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image (see'
    talker.spin(lambda: log.count(words) == 1, 'the type')
    camera.destroy_node()
    rclpy.shutdown(context=context)


def test_qos_overrides_apply_to_one_node_and_mismatches_are_reported(
    talk: Callable[..., Talker], log: Log
) -> None:
    overrides = {
        'qos_overrides./image.subscription.reliability': 'reliable',
        'qos_overrides./image.subscription.depth': 4,
    }
    talker = talk(**overrides)
    talker.node.destroy_publisher(talker.images)
    talker.images = talker.node.create_publisher(Image, 'image', BEST_EFFORT)
    talker.tracker.start()
    (subscription,) = (s for s in talker.tracker.subscriptions if s.topic_name == '/image')
    assert subscription.qos_profile.reliability == ReliabilityPolicy.RELIABLE
    assert subscription.qos_profile.depth == 4
    assert IMAGE_QOS.reliability == ReliabilityPolicy.BEST_EFFORT, 'that of the next node'
    assert IMAGE_QOS.depth == 1
    words = (
        '/image: no messages arrive from a publisher: /talker: Best effort publisher and reliable'
    )
    talker.spin(lambda: log.count(words) == 1, 'the reason')
    assert log.count('parameter qos_overrides./image.subscription') >= 1
    talker.spin(lambda: log.count('/image: no image for 2 s: /talker: Best effort') == 1, 'silence')


@pytest.mark.parametrize(
    ('policy', 'value'), [('reliability', 'perhaps'), ('depth', -1), ('depth', 10**11)]
)
def test_invalid_qos_override_prevents_activation(
    talk: Callable[..., Talker], policy: str, value: Any
) -> None:
    tracker = talk(**{f'qos_overrides./image.subscription.{policy}': value}).tracker
    tracker.start()
    assert tracker.state_label == 'inactive'
    assert policy in tracker.failure
    assert str(value) in tracker.failure


def test_init_box_publisher_with_incompatible_qos_is_reported(
    talk: Callable[..., Talker], log: Log
) -> None:
    talker = talk()
    talker.start()
    talker.node.create_publisher(Detection2D, 'init_box', BEST_EFFORT)
    words = '/init_box: no messages arrive from a publisher: /talker: Best effort publisher'
    talker.spin(lambda: log.count(words) == 1, 'the reason')


def test_images_to_an_inactive_node_are_reported_with_the_remedy(
    talk: Callable[..., Talker], log: Log
) -> None:
    talker = talk()
    words = (
        '/image is published by /talker, but this node is {}: ros2 lifecycle set /hcat_tracker {}'
    )
    unconfigured, inactive = (
        words.format('unconfigured', 'configure'),
        words.format('inactive', 'activate'),
    )
    talker.spin(lambda: log.count(unconfigured) == 1, 'unconfigured')
    talker.tracker.trigger_configure()
    talker.spin(lambda: log.count(inactive) == 1, 'inactive')
    talker.spin_for(1.2)
    assert log.count('is published by') == 2, log.text


def test_images_to_a_node_that_failed_to_configure_are_reported(
    talk: Callable[..., Talker], log: Log
) -> None:
    talker = talk(model='no_such_model')
    talker.tracker.start()
    words = "this node is unconfigured: cannot configure: no model 'no_such_model'"
    talker.spin(lambda: log.count(words) == 1, 'the reason')


def test_images_without_a_target_are_reported_once(talk: Callable[..., Talker], log: Log) -> None:
    talker = talk()
    talker.start()
    words = '/image: images arrive; no target has been named on /init_box yet'
    for number in range(100):
        talker.send_message(image_message(scene(0), 'bgr8'), stamp(number))
        talker.spin_for(0.05)
        if log.count(words):
            break
    assert log.count(words) == 1
    talker.name_target(TARGET)
    talker.send_message(image_message(scene(0), 'bgr8'), stamp(200))
    talker.spin_for(1.2)
    assert log.count(words) == 1


@pytest.mark.parametrize(
    ('transport', 'kind', 'topic', 'remedy'),
    [
        ('raw', CompressedImage, '/image/compressed', 'compressed'),
        ('compressed', Image, '/image', 'raw'),
    ],
)
def test_missing_images_warning_suggests_the_other_image_transport(
    talk: Callable[..., Talker], log: Log, transport: str, kind: Any, topic: str, remedy: str
) -> None:
    talker = talk(transport=transport)
    talker.tracker.start()
    talker.node.destroy_publisher(talker.images)
    talker.node.create_publisher(kind, topic, 1)
    words = f'but /talker publishes {topic}: image_transport:={remedy}'
    talker.spin(lambda: log.count(words) > 0, 'the hint')


@pytest.mark.parametrize(
    ('topic', 'wanted'), [('detections', 'Detection2DArray'), ('init_box', 'Detection2D')]
)
def test_inputs_of_the_wrong_message_type_are_reported(
    talk: Callable[..., Talker], topic: str, wanted: str
) -> None:
    talker = talk(diagnostics_period=0.2)
    talker.tracker.start()
    context = rclpy.Context()
    rclpy.init(context=context)
    other = rclpy.create_node('detector', context=context)
    other.create_publisher(PointStamped, f'/{topic}', 1)
    words = (
        f'/{topic} is published by /detector as geometry_msgs/msg/PointStamped, expected '
        f'vision_msgs/msg/{wanted}: its messages do not arrive'
    )
    talker.spin(lambda: words in talker.status().message, 'the type')
    assert talker.status().level == DiagnosticStatus.WARN
    other.destroy_node()
    rclpy.shutdown(context=context)


def test_two_sources_of_simulated_time_are_reported(talk: Callable[..., Talker]) -> None:
    talker = talk(use_sim_time=True, diagnostics_period=0.2)
    talker.tracker.start()
    clocks = [talker.node.create_publisher(Clock, '/clock', 1) for _ in range(2)]
    words = '/clock has 2 publishers, /talker, /talker: time jumps from one to the other'
    talker.spin(lambda: words in talker.status().message, 'both')
    talker.node.destroy_publisher(clocks[0])
    talker.spin(lambda: words not in talker.status().message, 'one alone')
