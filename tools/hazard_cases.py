# SPDX-License-Identifier: Apache-2.0
"""The hazards of `hazards.py`: faults of cameras, clocks and topics that occur in the field."""

from __future__ import annotations

import array
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from hcat_ros.boxes import Box
from hcat_ros.message_data import box_of, nanoseconds
from hcat_ros.nodes.detections import detection_message

Pass = Callable[[Any, Any], Sequence[Any]]


def pass_on(rig: Any, message: Any) -> Sequence[Any]:
    """Pass a message on."""
    return [message]


def nothing(rig: Any) -> subprocess.Popen[bytes] | None:
    """Do nothing when the hazard begins."""
    return None


@dataclass(frozen=True)
class Hazard:
    """A fault that begins once the platform follows. Each function gets the rig."""

    title: str
    images: Pass = pass_on
    """Function that returns the messages to publish in place of an image."""
    infos: Pass = pass_on
    begin: Callable[[Any], subprocess.Popen[bytes] | None] = nothing
    """Function that runs once when the hazard begins, and may return a process to end later."""
    may_move: bool = True
    """Whether the platform may go on following while the target is in view."""
    stands: bool = False
    """Whether the platform must not move at all, from the start of the run."""
    tracker: dict[str, Any] = field(default_factory=dict)
    follower: dict[str, Any] = field(default_factory=dict)


def set_stamp(message: Any, stamp: int) -> Any:
    """Set the stamp of a message, nanoseconds."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    return message


def freeze() -> Pass:
    """Repeat the last image, with the stamps of the new images."""
    last: list[Image] = []

    def images(rig: Any, image: Image) -> Sequence[Image]:
        last.append(deepcopy(image)) if not last else None
        return [set_stamp(last[0], nanoseconds(image.header.stamp))]

    return images


def shift_stamps(seconds: float, jitter: float = 0.0) -> Pass:
    """Return images with the stamps of a clock that was set or that jitters."""
    rng = np.random.default_rng(1)

    def images(rig: Any, image: Image) -> Sequence[Image]:
        by = seconds + float(rng.uniform(-jitter, jitter))
        return [set_stamp(image, nanoseconds(image.header.stamp) + round(by * 1e9))]

    return images


def reorder() -> Pass:
    """Return images in the order 1 4 2 3 5."""
    waiting: list[Image] = []

    def images(rig: Any, image: Image) -> Sequence[Image]:
        waiting.append(image)
        if len(waiting) < 5:
            return []
        a, b, c, d, e = waiting
        waiting.clear()
        return [a, d, b, c, e]

    return images


def resize(across: float, down: float, alternating: bool = False) -> Pass:
    """Return a calibration for images of another size."""
    count = 0

    def infos(rig: Any, info: CameraInfo) -> Sequence[CameraInfo]:
        nonlocal count
        count += 1
        if alternating and count % 2:
            return [info]
        info.width, info.height = round(info.width * across), round(info.height * down)
        matrix = np.array(info.k).reshape(3, 3)
        matrix[0] *= across
        matrix[1] *= down
        info.k = matrix.ravel()
        return [info]

    return infos


def bin_twice(rig: Any, info: CameraInfo) -> Sequence[CameraInfo]:
    """Return a calibration whose matrix already refers to binned pixels."""
    info.width, info.height, info.binning_x, info.binning_y = info.width * 2, info.height * 2, 2, 2
    return [info]


def second_camera(frame_id: str) -> Pass:
    """Publish the image of a rear camera from a second publisher, besides each image."""
    made: list[Any] = []

    def images(rig: Any, image: Image) -> Sequence[Image]:
        if not made:
            made.append(rig.create_publisher(Image, 'image', 20))
        other = deepcopy(image)
        pixels = np.frombuffer(bytes(image.data), np.uint8).reshape(image.height, image.width, 3)
        # Uses an array, because Humble checks the bytes of other types one by one.
        other.data = array.array('B', pixels[:, ::-1].tobytes())
        other.header.frame_id = frame_id or image.header.frame_id
        made[0].publish(other)
        return [image]

    return images


def restart(rig: Any) -> None:
    """Deactivate and activate the tracker, and name a part of the target."""
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request()
        request.transition.id = transition
        rig.change_state.call_async(request)
    box = box_of(rig.truth)
    part = Box(box.x + box.w / 4, box.y, box.w / 2, box.h / 2)

    def name() -> None:
        timer.cancel()
        rig.boxes.publish(detection_message(Detection2D().header, part))

    timer = rig.create_timer(0.5, name)


def detector_to_the_rear() -> Pass:
    """Return each image, and publish detections of another camera with its stamp."""

    def images(rig: Any, image: Image) -> Sequence[Image]:
        message = Detection2DArray(header=deepcopy(image.header))
        message.header.frame_id = 'rear_optical'
        found = detection_message(message.header, Box(10, 10, 60, 90))
        found.results = [ObjectHypothesisWithPose()]
        found.results[0].hypothesis.score = 0.99
        message.detections = [found]
        rig.detections.publish(message)
        return [image]

    return images


def drop_target(rig: Any) -> None:
    """Make the tracker drop its target."""
    rig.reset.call_async(Trigger.Request())


def kill(rig: Any) -> None:
    """Kill the tracker."""
    rig.tracker.kill()


FLOOD = """
import rclpy, time
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo
from vision_msgs.msg import Detection2D
rclpy.init()
node = rclpy.create_node('flood')
tracks = node.create_publisher(Detection2D, 'track', QoSProfile(depth=100))
infos = node.create_publisher(CameraInfo, 'camera_info', QoSProfile(depth=100))
track, info, end = Detection2D(), CameraInfo(), time.monotonic() + 20
track.bbox.size_x = track.bbox.size_y = 1e9
while time.monotonic() < end:
    for _ in range(50):
        tracks.publish(track)
        infos.publish(info)
    time.sleep(0.001)
"""


LARGE = """
import array, time
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose
rclpy.init()
node = rclpy.create_node('flood')
tracks = node.create_publisher(Detection2D, 'track', QoSProfile(depth=5))
infos = node.create_publisher(CameraInfo, 'camera_info', QoSProfile(depth=5))
track, end = Detection2D(), time.monotonic() + 20
track.results = [ObjectHypothesisWithPose()] * 20_000
info = CameraInfo(d=array.array('d', bytes(8_000_000)))
while time.monotonic() < end:
    infos.publish(info)
    tracks.publish(track)
"""


def flood_of_large(rig: Any) -> subprocess.Popen[bytes]:
    """Kill the tracker, and send the follower camera_infos of 8 MB and tracks of 20,000 results."""
    rig.tracker.kill()
    return subprocess.Popen([sys.executable, '-c', LARGE], stderr=subprocess.DEVNULL)


def flood(rig: Any) -> subprocess.Popen[bytes]:
    """Kill the tracker, and flood the follower with unusable messages."""
    rig.tracker.kill()
    return subprocess.Popen([sys.executable, '-c', FLOOD], stderr=subprocess.DEVNULL)


HAZARDS = (
    Hazard('none, to compare with'),
    Hazard('camera frozen, stamps go on', freeze(), may_move=False),
    Hazard('camera_info of twice the size', infos=resize(2, 2)),
    Hazard('camera_info of another aspect', infos=resize(2, 1), may_move=False),
    Hazard('camera_info of two sizes in turn', infos=resize(2, 2, True), may_move=False),
    Hazard('camera_info binned twice', infos=bin_twice),
    Hazard('second camera of another frame', second_camera('rear_optical')),
    Hazard('second camera of the same frame', second_camera('')),
    Hazard('images out of order', reorder()),
    Hazard('stamps that jitter by 20 ms', shift_stamps(0.0, 0.02)),
    Hazard("camera's clock set back by 0.2 s", shift_stamps(-0.2)),
    Hazard("camera's clock set ahead by 3 s", shift_stamps(3.0), may_move=False),
    Hazard(
        'tracker restarted, part of the target named',
        begin=restart,
        follower={'range_mode': 'relative', 'reference_range': 4.0},
    ),
    Hazard('limit mistyped', stands=True, may_move=False, follower={'yaw.max_sped': 0.2}),
    Hazard(
        'detector of another camera',
        detector_to_the_rear(),
        begin=drop_target,
        may_move=False,
        tracker={'init_mode': 'best'},
    ),
    Hazard('tracker killed', begin=kill, may_move=False),
    Hazard('tracker killed, follower flooded', begin=flood, may_move=False),
    Hazard('tracker killed, flood of 8 MB messages', begin=flood_of_large, may_move=False),
)
