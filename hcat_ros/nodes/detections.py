# SPDX-License-Identifier: Apache-2.0
"""Boxes and tracks to vision_msgs/Detection2D, and the choice of one to follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

from hcat_ros.boxes import Box
from hcat_ros.message_data import best_class, box_of
from hcat_ros.tracking import TargetState, Track


def chosen(
    detections: Sequence[Detection2D], mode: str, classes: Sequence[str], near: Box | None
) -> Detection2D | None:
    """Return the detection to follow, None if no one is of these classes.

    mode: 'best', the highest score; 'class', the highest of the first of the classes that is
    there; 'nearest', the one whose middle is nearest to that of `near`, the best without it.
    classes: those that count, all of them if empty.
    """
    named = [(detection, *best_class(detection)) for detection in detections]
    named = [entry for entry in named if not classes or entry[1] in classes]
    if not named:
        return None
    if mode == 'nearest' and near is not None:
        return min(named, key=lambda entry: _distance(box_of(entry[0]), near))[0]
    if mode == 'class' and classes:
        first = min(classes.index(entry[1]) for entry in named)
        named = [entry for entry in named if entry[1] == classes[first]]
    return max(named, key=lambda entry: entry[2])[0]


def _distance(a: Box, b: Box) -> float:
    """Return the distance of two boxes' middles; NaN, which is no place, is far."""
    distance = math.hypot(a.cx - b.cx, a.cy - b.cy)
    return math.inf if math.isnan(distance) else distance


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


def track_message(header: Any, track: Track, target_id: str, class_id: str) -> Detection2D:
    """Return a track as a detection: one result with the raw score, none while it is lost."""
    message = detection_message(header, track.box, target_id)
    if track.state is not TargetState.LOST:
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = class_id
        result.hypothesis.score = track.score
        message.results = [result]
    return message
