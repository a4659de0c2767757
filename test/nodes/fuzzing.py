# SPDX-License-Identifier: Apache-2.0
"""Fuzz tests of a node: malformed messages, their delivery, and a check that it still tracks."""

from __future__ import annotations

import array
import random
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage
from talker import TARGET, Talker, scene, stamp, truth
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from hcat_ros.boxes import iou
from hcat_ros.engines import EngineCard, Prediction
from hcat_ros.message_data import box_of
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.tracker.settings import SETTINGS

WIDTH, HEIGHT = 24, 16
"""Size of the images, px: small, so that many can be sent."""


class QuickEngine:
    """An engine that predicts at random and quickly: the node is tested here, not the network."""

    card = EngineCard('quick', 'test double', '0', 'fp32', 128, 256, 16)

    def __init__(self, model: object, **options: object) -> None:
        self._random = np.random.default_rng(0)

    def template(self, crop: np.ndarray) -> object:
        return object()

    def search(self, crop: np.ndarray, features: object) -> Prediction:
        scores = self._random.random((16, 16))
        return Prediction(scores, self._random.random((256, 4)) * 1.5)


def check_tracking(talker: Talker) -> None:
    """Restart the node with the real engine and check that it tracks."""
    tracker = talker.tracker
    while tracker.state_label != 'unconfigured':
        down = {'active': tracker.trigger_deactivate, 'inactive': tracker.trigger_cleanup}
        down[tracker.state_label]()
    for setting in SETTINGS:
        if setting.default is not None:
            assert talker.set(setting.name, setting.default).successful
    for name, value in (('window_penalty', 0.2), ('size_smoothing', 0.3), ('lost_threshold', 0.0)):
        assert talker.set(name, value).successful
    assert talker.set('threads', 1).successful
    assert talker.set('init_box', [*map(float, TARGET)]).successful
    talker.start()
    talker.send(0)
    talker.send(1)
    # Earlier tracks may still arrive.
    talker.spin(lambda: any(t.header.stamp == stamp(1) for t in talker.tracks), 'a track')
    assert iou(box_of(talker.tracks[-1]), truth(1)) > 0.5


def deliver(talker: Talker, message: Any) -> None:
    """Give a message to the callback of the node's subscription to its type."""
    for subscription in list(talker.tracker.subscriptions):
        if subscription.msg_type is type(message):
            subscription.callback(message, {'publication_sequence_number': None})


def service_callback(node: Any, kind: Any) -> Any:
    """Return the callback of a node's service of a type."""
    (service,) = (one for one in node.services if one.srv_type is kind)
    return service.callback


def samples() -> dict[str, Any]:
    """Return a message of each type that the node subscribes to, by topic."""
    box = detection_message(Detection2D().header, TARGET, '1')
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = 'car', 0.5
    box.results = [result]
    jpeg = CompressedImage(format='jpeg')
    picture = cv2.resize(scene(0), (WIDTH, HEIGHT))
    jpeg.data = array.array('B', cv2.imencode('.jpg', picture)[1].tobytes())
    return {
        'image': image_message(picture, 'bgr8'),
        'init_box': box,
        'detections': Detection2DArray(detections=[box, box]),
        'image/compressed': jpeg,
    }


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Return serialized bytes with bits, numbers or the length changed."""
    changed = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 4))):
        # Most bytes of an image are pixels, which are always valid: change the header more often.
        end = min(len(changed), 90) if rng.random() < 0.7 else len(changed)
        place = rng.randrange(max(end, 1))
        kind = rng.randrange(5)
        if kind == 0 and changed:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            number = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.getrandbits(32)))
            changed[place // 4 * 4 : place // 4 * 4 + 4] = number.to_bytes(4, 'little')
        elif kind == 2:
            special = rng.choice((np.nan, np.inf, -np.inf, -1.0, 1e300))
            changed[place // 8 * 8 : place // 8 * 8 + 8] = np.float64(special).tobytes()
        elif kind == 3:
            del changed[place:]
        else:
            changed[place:place] = rng.randbytes(rng.randint(1, 16))
    return bytes(changed)
