# SPDX-License-Identifier: Apache-2.0
"""Writes a replay's tracks as a bag for Foxglove and `ros2 bag play`, and as a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from hcat_ros.boxes import Box
from hcat_ros.drawing import draw_box, draw_label, draw_track
from hcat_ros.evaluation.bags.follow import Followed
from hcat_ros.evaluation.bags.message_types import (
    COMPRESSED,
    DETECTION,
    DETECTIONS,
    FLOAT,
    build_message,
    encode_message,
    header,
    typestore,
)
from hcat_ros.tracking import TargetState
from hcat_ros.tracking.encodings import Image, to_bgr

TOPICS = {
    '/init_box': DETECTION,
    '/track': DETECTION,
    '/tracks': DETECTIONS,
    '/truth': DETECTION,
    '/track_image/compressed': COMPRESSED,
    '/hcat/score': FLOAT,
    '/hcat/iou': FLOAT,
    '/hcat/latency_ms': FLOAT,
}
COLUMNS = ('stamp', 'frame', 'x', 'y', 'w', 'h', 'score', 'state', 'ms', 'iou', 'target')
VERSION: Any = 8
"""Version of the bag's metadata. Humble cannot play bags of version 9 or of Jazzy's version."""
JPEG_QUALITY = 80
DEFAULT_CLASS = 'target'
"""Class of tracks whose init box has none, as with the node's parameter `class_id`."""
TRUTH_COLOUR = (255, 255, 255)


class TrackBag:
    """Writes a folder with an MCAP file of the same name; use it as a context manager.

    Each message has the time of recording of its image. Raises OSError; `rosbags`' WriterError if
    the folder exists.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = Writer(folder, version=VERSION, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> TrackBag:
        self._writer.open()
        for topic, kind in TOPICS.items():
            connection = self._writer.add_connection(topic, kind, typestore=typestore())
            self._connections[topic] = connection
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, traceback)

    def write(self, answers: Sequence[Followed]) -> None:
        """Write an image with its answers, one for each target."""
        frame = answers[0].frame
        where = (frame.stamp, frame.frame_id)
        tracks = []
        for followed in answers:
            track, name = followed.track, followed.class_id or DEFAULT_CLASS
            if track is not None and followed.starts:
                named = detection(*where, track.box, '', [(name, 1.0)])
                self._add(frame.log_time, '/init_box', named)
            elif track is not None:
                seen = track.state is not TargetState.LOST
                results = [(name, track.score)] if seen else []
                tracks.append(detection(*where, track.box, str(followed.target), results))
                if followed.is_primary:
                    self._add(frame.log_time, '/track', tracks[-1])
                    self._number(frame.log_time, '/hcat/score', track.score)
                    self._number(frame.log_time, '/hcat/iou', followed.iou)
            if np.isfinite(followed.truth).all():
                truth = detection(*where, Box(*followed.truth.tolist()), str(followed.target or ''))
                self._add(frame.log_time, '/truth', truth)
        if tracks:
            every = build_message(DETECTIONS, header=header(*where), detections=tracks)
            self._add(frame.log_time, '/tracks', every)
        times = [followed.seconds for followed in answers if np.isfinite(followed.seconds)]
        self._number(frame.log_time, '/hcat/latency_ms', 1e3 * sum(times) if times else np.nan)
        picture = compress_image(*where, draw_answers(answers))
        self._add(frame.log_time, '/track_image/compressed', picture)

    def _number(self, log_time: int, topic: str, value: float) -> None:
        if np.isfinite(value):
            self._add(log_time, topic, build_message(FLOAT, data=float(value)))

    def _add(self, log_time: int, topic: str, message: Any) -> None:
        self._writer.write(self._connections[topic], log_time, encode_message(message))


def detection(
    stamp: int,
    frame_id: str,
    box: Box,
    target_id: str = '',
    results: list[tuple[str, float]] | None = None,
) -> Any:
    """Return a Detection2D. stamp: nanoseconds; results: class and score of each."""
    name = 'vision_msgs/msg'
    position = build_message(f'{name}/Point2D', x=float(box.cx), y=float(box.cy))
    center = build_message(f'{name}/Pose2D', position=position, theta=0.0)
    return build_message(
        DETECTION,
        header=header(stamp, frame_id),
        results=[_hypothesis(*result) for result in results or ()],
        bbox=build_message(
            f'{name}/BoundingBox2D', center=center, size_x=float(box.w), size_y=float(box.h)
        ),
        id=target_id,
    )


def _hypothesis(class_id: str, score: float) -> Any:
    pose = build_message(
        'geometry_msgs/msg/Pose',
        position=build_message('geometry_msgs/msg/Point', x=0.0, y=0.0, z=0.0),
        orientation=build_message('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0),
    )
    return build_message(
        'vision_msgs/msg/ObjectHypothesisWithPose',
        hypothesis=build_message(
            'vision_msgs/msg/ObjectHypothesis', class_id=class_id, score=float(score)
        ),
        pose=build_message(
            'geometry_msgs/msg/PoseWithCovariance', pose=pose, covariance=np.zeros(36)
        ),
    )


def compress_image(stamp: int, frame_id: str, pixels: Image) -> Any:
    """Return BGR or grey pixels as a CompressedImage in JPEG. stamp: nanoseconds."""
    done, data = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f'OpenCV cannot encode an image of shape {pixels.shape} as JPEG')
    return build_message(
        COMPRESSED, header=header(stamp, frame_id), format='jpeg', data=np.asarray(data).ravel()
    )


def draw_answers(answers: Sequence[Followed]) -> Image:
    """Return an image as BGR with true boxes in white and tracks in the colours of their states."""
    frame = answers[0].frame
    picture = to_bgr(frame.image, frame.encoding).copy()
    scale = max(picture.shape[0] / 720, 0.5)
    words = [f'image {frame.index}']
    several = len({followed.target for followed in answers}) > 1
    for followed in answers:
        if np.isfinite(followed.truth).all():
            draw_box(picture, followed.truth, TRUTH_COLOUR, 1)
        if followed.starts:
            words.append(f'target {followed.target} named')
        if (track := followed.track) is not None:
            name = str(followed.target) if several else ''
            draw_track(picture, replace(track, score=1.0) if followed.starts else track, name=name)
    if all(followed.track is None for followed in answers):
        words.append('no target')
    draw_label(picture, ': '.join(words), (0, picture.shape[0]), scale, TRUTH_COLOUR)
    return picture


class TrackTable:
    """Writes a CSV file with a row for each image and target; use it as a context manager.

    Raises OSError.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open('w', newline='', encoding='utf-8')
        self._rows = csv.writer(self._file)
        self._rows.writerow(COLUMNS)

    def __enter__(self) -> TrackTable:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, followed: Followed) -> None:
        """Write a row; fields of missing values are empty."""
        frame, track = followed.frame, followed.track
        box = [f'{value:.3f}' for value in track.box] if track else [''] * 4
        score = _text(track.score, '.4f') if track else ''
        state = 'named' if followed.starts else track.state.value if track else 'no target'
        numbers = [_text(1e3 * followed.seconds, '.3f'), _text(followed.iou, '.4f')]
        row = [frame.stamp, frame.index, *box, score, state, *numbers, followed.target or '']
        self._rows.writerow(row)


def _text(value: float, layout: str) -> str:
    return f'{value:{layout}}' if np.isfinite(value) else ''
