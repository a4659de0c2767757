# SPDX-License-Identifier: Apache-2.0
"""Limits on the lengths in a message, checked first because all later work grows with them."""

from __future__ import annotations

from typing import Any

LONGEST_NAME = 256
"""Maximum length of a frame name, an id or a class, in characters."""
MOST_RESULTS = 1000
"""Maximum number of results of a detection."""
MOST_COEFFICIENTS = 14
"""Maximum number of distortion coefficients of a lens, as in OpenCV's largest model."""


def check_image(message: Any) -> None:
    """Raise ValueError for an image, raw or compressed, with a text that is too long."""
    _check_name('header.frame_id', message.header.frame_id)
    kind = 'encoding' if hasattr(message, 'encoding') else 'format'
    _check_name(kind, getattr(message, kind))


def check_detection(message: Any) -> None:
    """Raise ValueError for a vision_msgs/Detection2D with a field that is too long."""
    _check('results', message.results, MOST_RESULTS)
    _check_name('header.frame_id', message.header.frame_id)
    _check_name('id', message.id)
    for result in message.results:
        _check_name('class_id', result.hypothesis.class_id)


def check_camera_info(message: Any) -> None:
    """Raise ValueError for a sensor_msgs/CameraInfo with a field that is too long."""
    _check('d', message.d, MOST_COEFFICIENTS)
    _check_name('header.frame_id', message.header.frame_id)
    _check_name('distortion_model', message.distortion_model)


def _check(name: str, values: Any, most: int) -> None:
    if len(values) > most:
        raise ValueError(f'{name} has {len(values)} values: expected at most {most}')


def _check_name(name: str, text: str) -> None:
    if len(text) > LONGEST_NAME:
        raise ValueError(
            f"{name} has {len(text)} characters, '{text[:20]}...': expected at most {LONGEST_NAME}"
        )
