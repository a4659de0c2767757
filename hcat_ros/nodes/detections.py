# SPDX-License-Identifier: Apache-2.0
"""Boxes and tracks to vision_msgs/Detection2D, and the choice of one to follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from hcat_ros.boxes import Box, checked_target_box
from hcat_ros.message_data import best_class, box_of, nanoseconds
from hcat_ros.nodes.message_bounds import check_detection
from hcat_ros.tracking import TargetState, Track
from hcat_ros.tracking.stream import CameraView
from hcat_ros.tracking.target_requests import TargetRequest

MOST_DETECTIONS = 10_000
"""Most detections that one message may hold."""


class Found(NamedTuple):
    """A detection that can name a target."""

    box: Box
    class_id: str
    """Empty if it has no hypothesis."""
    score: float
    stamp: int
    """Nanoseconds of its image, 0 if it has none."""


def target_request(message: Detection2D) -> TargetRequest:
    """Return the request that an init box stands for. Raises ValueError if it is malformed."""
    check_detection(message)
    stamp = nanoseconds(message.header.stamp)
    return TargetRequest(box_of(message), stamp, best_class(message)[0])


def usable_detections(
    message: Detection2DArray, view: CameraView | None
) -> tuple[list[Found], str]:
    """Return the detections that can name a target, and why the last of the others cannot.

    view: the images that are tracked, None before the first.
    """
    found, reason = [], ''
    if len(message.detections) > MOST_DETECTIONS:
        return [], f'{len(message.detections)} detections: expected at most {MOST_DETECTIONS}'
    for detection in message.detections:
        try:
            check_detection(detection)
            frame = detection.header.frame_id or message.header.frame_id
            stamp = nanoseconds(detection.header.stamp) or nanoseconds(message.header.stamp)
            one = Found(box_of(detection), *best_class(detection), stamp)
            if not math.isfinite(one.score):
                raise ValueError(f'score {one.score} is not finite')
            if view is not None:
                if frame.lstrip('/') not in ('', view.frame_id.lstrip('/')):
                    raise ValueError(f"it is of frame '{frame}', the images of '{view.frame_id}'")
                checked_target_box(one.box, view.width, view.height)
        except ValueError as error:
            reason = str(error)
        else:
            found.append(one)
    return found, reason


def choose_detection(
    found: Sequence[Found], mode: str, classes: Sequence[str], near: Box | None
) -> Found | None:
    """Return the detection to follow, None if no one is of these classes.

    mode: 'best' or 'all', the highest score; 'class', the highest of the first of the classes that
    is there; 'nearest', the one whose middle is nearest to that of `near`, the best without it.
    classes: those that count, all of them if empty.
    """
    named = [one for one in found if not classes or one.class_id in classes]
    if not named:
        return None
    if mode == 'nearest' and near is not None:
        return min(named, key=lambda o: math.hypot(o.box.cx - near.cx, o.box.cy - near.cy))
    if mode == 'class' and classes:
        first = min(classes.index(one.class_id) for one in named)
        named = [one for one in named if one.class_id == classes[first]]
    return max(named, key=lambda one: one.score)


def detection_message(header: Any, box: Box, target_id: str = '') -> Detection2D:
    """Return a detection without results at this box. header: std_msgs/Header, taken over."""
    message = Detection2D()
    message.header = header
    message.id = target_id
    # float(): the message's C code takes a whole number's memory for a float's.
    message.bbox.center.position.x = float(box.cx)
    message.bbox.center.position.y = float(box.cy)
    message.bbox.size_x = float(box.w)
    message.bbox.size_y = float(box.h)
    return message


def track_message(header: Any, track: Track | None, target_id: str, class_id: str) -> Detection2D:
    """Return a track as a detection: one result with the raw score, none while it is lost.

    Without a track, where the picture says nothing of the target, its box is of no size.
    """
    message = detection_message(header, track.box if track else Box(0, 0, 0, 0), target_id)
    if track is not None and track.state is not TargetState.LOST:
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = class_id
        result.hypothesis.score = track.score
        message.results = [result]
    return message
