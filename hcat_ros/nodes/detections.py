# SPDX-License-Identifier: Apache-2.0
"""Converts boxes and tracks to vision_msgs/Detection2D and chooses the detection to follow."""

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
"""Maximum number of detections in one message."""


class Found(NamedTuple):
    """A detection that can name a target."""

    box: Box
    class_id: str
    """Class of the best hypothesis; empty if the detection has no hypothesis."""
    score: float
    stamp: int
    """Stamp of the detection's image in nanoseconds, 0 if it is not set."""


def target_request(message: Detection2D) -> TargetRequest:
    """Return the request that an init box stands for. Raises ValueError if it is malformed."""
    check_detection(message)
    stamp = nanoseconds(message.header.stamp)
    return TargetRequest(box_of(message), stamp, best_class(message)[0])


def usable_detections(
    message: Detection2DArray, view: CameraView | None
) -> tuple[list[Found], str]:
    """Return the detections that can name a target, and why the last unusable one cannot.

    view: size and frame of the tracked images, None before the first image.
    """
    found, reason = [], ''
    if len(message.detections) > MOST_DETECTIONS:
        return [], f'{len(message.detections)} detections: expected at most {MOST_DETECTIONS}'
    for detection in message.detections:
        try:
            check_detection(detection)
            frame = detection.header.frame_id or message.header.frame_id
            stamp = nanoseconds(detection.header.stamp) or nanoseconds(message.header.stamp)
            candidate = Found(box_of(detection), *best_class(detection), stamp)
            if not math.isfinite(candidate.score):
                raise ValueError(f'score {candidate.score} is not finite')
            if view is not None:
                if frame.lstrip('/') not in ('', view.frame_id.lstrip('/')):
                    raise ValueError(
                        f"its frame is '{frame}', but the images have frame '{view.frame_id}'"
                    )
                checked_target_box(candidate.box, view.width, view.height)
        except ValueError as error:
            reason = str(error)
        else:
            found.append(candidate)
    return found, reason


def choose_detection(
    found: Sequence[Found], mode: str, classes: Sequence[str], near: Box | None
) -> Found | None:
    """Return the detection to follow, None if no detection has one of these classes.

    mode: 'best' or 'all': the highest score; 'class': the highest score within the first listed
    class that is present; 'nearest': the detection whose centre is nearest to the centre of `near`,
    or the highest score if `near` is None. classes: accepted classes; empty accepts all.
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
    """Return a detection with this box and no results. header: std_msgs/Header, not copied."""
    message = Detection2D()
    message.header = header
    message.id = target_id
    # float(): the message's C code reads the memory of an int as if it were a float.
    message.bbox.center.position.x = float(box.cx)
    message.bbox.center.position.y = float(box.cy)
    message.bbox.size_x = float(box.w)
    message.bbox.size_y = float(box.h)
    return message


def track_message(header: Any, track: Track | None, target_id: str, class_id: str) -> Detection2D:
    """Return a track as a detection with the raw score as its result, no result if it is lost.

    track: None if the camera is frozen; the box then has size 0.
    """
    message = detection_message(header, track.box if track else Box(0, 0, 0, 0), target_id)
    if track is not None and track.state is not TargetState.LOST:
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = class_id
        result.hypothesis.score = track.score
        message.results = [result]
    return message
