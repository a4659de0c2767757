# SPDX-License-Identifier: Apache-2.0
"""A window in which the user draws the target."""

from __future__ import annotations

import cv2

from hcat_ros.boxes import Box
from hcat_ros.tracking.encodings import Image


def no_window(error: cv2.error, option: str, instead: str) -> RuntimeError:
    """Return the error for an OpenCV that cannot open a window, with the remedy."""
    return RuntimeError(
        f'{option}: this OpenCV cannot open a window ({error.err}); install opencv-python in place '
        f'of opencv-python-headless and run where there is a display, or use {instead}'
    )


def drawn_box(image: Image, title: str, option: str, instead: str) -> Box:
    """Let the user draw the target on a BGR image.

    option: command-line option that opened the window; instead: options that need no window.
    Raises ValueError if no box was drawn, RuntimeError if no window can be opened.
    """
    try:
        x, y, w, h = cv2.selectROI(title, image, showCrosshair=False)
        cv2.destroyWindow(title)
    except cv2.error as error:
        raise no_window(error, option, instead) from error
    if w == 0 or h == 0:
        raise ValueError('no box was drawn')
    return Box(float(x), float(y), float(w), float(h))
