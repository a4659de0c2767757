# SPDX-License-Identifier: Apache-2.0
"""Real messages with mutated serialized bytes never end the node.

Messages that can be deserialized go straight into the callbacks of the node's real subscriptions.
The effect of the others on DDS and rclpy is tested with a node in a separate process.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from fuzzing import deliver, mutated, samples
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from talker import TARGET, Talker, scene, stamp
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import iou
from hcat_ros.message_data import box_of
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message

MUTATIONS = {'raw': 14_000, 'compressed': 4000}
"""Number of mutated messages that the callbacks receive, by image transport."""
WIRE = 2000
"""Number of mutated messages that are sent over DDS."""


DESERIALIZING = f"""
import sys
sys.path[:0] = {sys.path!r}
from test_fuzz_bytes import *
rng, read = random.Random(1), 0
for message in samples().values():
    raw = serialize_message(message)
    for _ in range(10_000):
        try:
            deserialize_message(mutated(raw, rng), type(message))
            read += 1
        except Exception as error:
            assert 'deserialize' in str(error), error
print(read)
"""


def test_deserializing_mutated_bytes_raises_but_never_crashes(ros: None) -> None:
    """40 000 messages in a separate process, because a node cannot prevent a crash in rclpy."""
    done = subprocess.run(
        [sys.executable, '-c', DESERIALIZING], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 10_000


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_mutated_messages_do_not_end_the_node(quick: Talker, transport: str) -> None:
    tracker, rng = quick.tracker, random.Random(2)
    if transport == 'compressed':
        tracker.trigger_deactivate()
        assert quick.set('image_transport', 'compressed').successful
        tracker.trigger_activate()
    quick.set('init_mode', 'best')
    wanted = [subscription.msg_type for subscription in tracker.subscriptions]
    raws = [(type(m), serialize_message(m)) for m in samples().values() if type(m) in wanted]
    delivered = 0
    while delivered < MUTATIONS[transport]:
        kind, raw = rng.choice(raws)
        try:
            message = deserialize_message(mutated(raw, rng), kind)
        except Exception:
            continue
        deliver(quick, message)
        delivered += 1
    counts = tracker.refusals.statistics.counts
    assert counts['images'] > MUTATIONS[transport] / 10
    assert counts['refused images'] > 0
    assert counts['refused boxes'] > 0
    quick.compressed = False
    if transport == 'compressed':
        quick.images = quick.node.create_publisher(Image, 'image', QoSProfile(depth=5))


def test_mutated_bytes_over_dds_do_not_end_the_process(ros: None, tmp_path: Path) -> None:
    node, rng = rclpy.create_node('fuzzer'), random.Random(3)
    found: list[Detection2D] = []
    node.create_subscription(Detection2D, 'track', found.append, QoSProfile(depth=50))
    words = ['-p', 'autostart:=true', '-p', 'init_mode:=best', '-p', 'threads:=1']
    process = subprocess.Popen(
        [sys.executable, '-m', 'hcat_ros.executables', 'tracker_node', '--ros-args', *words],
        stdout=(tmp_path / 'log').open('w'),
        stderr=subprocess.STDOUT,
    )
    try:
        messages = samples()
        del messages['image/compressed']
        publishers = {
            topic: node.create_publisher(type(message), topic, QoSProfile(depth=50))
            for topic, message in messages.items()
        }
        parameters = node.create_client(SetParameters, 'hcat_tracker/set_parameters')
        changes = node.create_client(ChangeState, 'hcat_tracker/change_state')

        def wait(until: Callable[[], bool], seconds: float = 30.0) -> bool:
            deadline = time.monotonic() + seconds
            while not until() and time.monotonic() < deadline and process.poll() is None:
                rclpy.spin_once(node, timeout_sec=0.02)
            return until()

        assert wait(lambda: all(p.get_subscription_count() for p in publishers.values()))
        assert wait(lambda: parameters.service_is_ready() and changes.service_is_ready())
        raws = {topic: serialize_message(message) for topic, message in messages.items()}
        for number in range(WIRE):
            topic = rng.choice(list(raws))
            publishers[topic].publish(mutated(raws[topic], rng))
            if number % 20 == 0:  # rclpy's own callback raises an error for this type
                bad = Parameter(name='threads', value=ParameterValue(type=200))
                parameters.call_async(SetParameters.Request(parameters=[bad]))
                request = ChangeState.Request()
                request.transition.id = rng.choice((1, 2, 9, 99, 255))
                changes.call_async(request)
                rclpy.spin_once(node, timeout_sec=0.02)
            time.sleep(0.001)
        assert process.poll() is None
        # The node may be in any state: bring it down and up again, then it must track.
        for transition in (4, 2, 1, 3):
            request = ChangeState.Request()
            request.transition.id = transition
            assert wait(changes.call_async(request).done)
        assert wait(lambda: all(p.get_subscription_count() for p in publishers.values()))
        wait(lambda: False, 0.5)
        found.clear()
        box = detection_message(Detection2D().header, TARGET)
        for number in range(200):
            picture = image_message(scene(0), 'bgr8')
            picture.header.stamp = stamp(10**6 + number)
            publishers['image'].publish(picture)
            if number % 10 == 0:
                publishers['init_box'].publish(box)
            if wait(lambda: bool(found), 0.1):
                break
        assert found
        assert iou(box_of(found[-1]), TARGET) > 0.5
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        log = (tmp_path / 'log').read_text()
        node.destroy_node()
    assert process.returncode == 0, log[-3000:]
