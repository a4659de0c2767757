# SPDX-License-Identifier: Apache-2.0
"""Strips of frames that show how a tracker lost its target, and found it again."""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcat_ros.drawing import draw_box
from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.report.scenes import Scene
from hcat_ros.files.pictures import read_picture
from hcat_ros.tracking.encodings import Image

ReadFrame = Callable[[Clip, int], 'Image | None']
"""Function that returns the frame of a row of a clip's result, BGR uint8 (H, W, 3), or None."""

LOW_IOU, GOOD_IOU, LOW_FRAMES = 0.2, 0.5, 5
"""A target is missed at a frame with IoU 0, or where LOW_FRAMES in a row are below LOW_IOU; it is
found again at the next frame with GOOD_IOU or more."""
HEIGHT, WIDTH = 240, 430
"""Largest height and width of a picture, pixels."""
QUALITY = 78
LARGEST_ZOOM = 3.0
TRUTH = (255, 255, 255)
TRACKS = (
    (230, 160, 60),
    (50, 120, 255),
    (130, 200, 30),
    (200, 130, 225),
    (60, 190, 245),
    (170, 170, 170),
)
"""Colours of the runs on photographs, BGR: lighter versions of --run-0 to --run-5 in page.html."""


class Moment(NamedTuple):
    """A frame worth showing."""

    row: int
    """Row of the result; row 0 is the first frame with the target."""
    what: str


class StripPicture(NamedTuple):
    """The picture of a moment."""

    moment: Moment
    source: str
    """Picture as a data URL, JPEG."""
    width: int
    height: int
    zoom: float


def read_frame(clip: Clip, index: int) -> Image | None:
    """Read the image file of a row of the clip's result; return None if it cannot be read."""
    index += int(clip.visible[0]) if len(clip.visible) else 0
    if index >= len(clip.images) or not clip.images[index].is_file():
        return None
    try:
        return read_picture(clip.images[index])
    except (OSError, ValueError):
        return None


def failures(overlaps: NDArray[np.float64]) -> list[tuple[int, int | None]]:
    """Return pairs of rows: where the target is missed, and where it is found again (or None).

    overlaps: (n,), NaN where a frame does not count.
    """
    counted = np.flatnonzero(np.isfinite(overlaps))
    values = overlaps[counted]
    found: list[tuple[int, int | None]] = []
    place = 0
    while place < len(values):
        window = values[place : place + LOW_FRAMES]
        if values[place] > 0 and not (len(window) == LOW_FRAMES and (window < LOW_IOU).all()):
            place += 1
            continue
        again = next((p for p in range(place + 1, len(values)) if values[p] >= GOOD_IOU), None)
        found.append((int(counted[place]), None if again is None else int(counted[again])))
        if again is None:
            break
        place = again
    return found


def moments(overlaps: NDArray[np.float64], most: int = 9) -> list[Moment]:
    """Return at most `most` frames worth showing, in order of time.

    These are the start and, for each failure, the last good frame, the failure, some frames after
    it and the frame where the target is found again. For a track that never fails, they are its
    start, its worst frame and its end.
    """
    counted = np.flatnonzero(np.isfinite(overlaps))
    found = {0: 'start'}
    begin = 0
    for failure, again in failures(overlaps):
        good = counted[(counted >= begin) & (counted < failure)]
        good = good[overlaps[good] >= GOOD_IOU]
        end = len(overlaps) if again is None else again
        # The most informative frames come first, since there may not be room for all.
        new = {failure: 'missed'}
        if again is not None:
            new[again] = 'found again'
        if len(good):
            new.setdefault(int(good[-1]), 'last good')
        if end - failure > LOW_FRAMES:
            new[failure + min(10, (end - failure) // 3)] = 'after'
            new.setdefault((failure + end) // 2, 'after')
        room = most - len(found)
        if room < 2:
            break
        found = {**dict(itertools.islice(new.items(), room)), **found}
        begin = end
    if len(found) == 1 and len(counted):
        found.setdefault(int(counted[overlaps[counted].argmin()]), 'lowest IoU')
        found.setdefault(len(overlaps) - 1, 'end')
    return [Moment(index, found[index]) for index in sorted(found)]


def strip(scene: Scene, read: ReadFrame = read_frame) -> list[StripPicture]:
    """Draw the moments of a scene's first run, with the boxes of all runs.

    Moments without an image are left out.
    """
    first = scene.leading
    pictures = []
    for moment in moments(first.score.overlaps):
        image = read(first.clip, moment.row)
        if image is None:
            continue
        truth = first.truth[moment.row] if moment.row < len(first.truth) else np.full(4, np.nan)
        tracks = [
            (number, answer.result.boxes[moment.row])
            for number, answer in enumerate(scene.answers)
            if answer is not None and moment.row < len(answer.result.boxes)
        ]
        picture, zoom = drawn_frame(image, truth, tracks)
        encoded, jpeg = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if encoded:
            source = f'data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}'
            pictures.append(StripPicture(moment, source, picture.shape[1], picture.shape[0], zoom))
    return pictures


def drawn_frame(
    image: Image, truth: ArrayLike, tracks: Sequence[tuple[int, ArrayLike]]
) -> tuple[Image, float]:
    """Return a small picture of a frame with boxes on it, and its zoom factor.

    truth: x y w h, or NaN; tracks: number and box of each run. The picture shows a part of the
    frame that contains the truth and the first track.
    """
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    boxes = [np.asarray(truth, np.float64), *(np.asarray(box, np.float64) for _, box in tracks)]
    size = (image.shape[1], image.shape[0])
    x, y, w, h = _window([box for box in boxes[:2] if np.isfinite(box).all()], size)
    fit = min(HEIGHT / size[1], WIDTH / size[0])
    # All pictures of a sequence have the same size, whatever their zoom.
    shown = np.maximum(np.round(np.multiply(size, fit)), 1).astype(int)
    scale = shown / (w, h)
    interpolation = cv2.INTER_AREA if scale[0] < 1 else cv2.INTER_LINEAR
    part = image[y : y + h, x : x + w]
    picture = np.asarray(cv2.resize(part, shown.tolist(), interpolation=interpolation), np.uint8)
    for (number, _), box in reversed(list(zip(tracks, boxes[1:]))):
        _draw_box(picture, box, (x, y), scale, TRACKS[number % len(TRACKS)], 2 + (number == 0))
    _draw_box(picture, boxes[0], (x, y), scale, TRUTH, 2)
    return picture, size[1] / h


def _window(
    boxes: Sequence[NDArray[np.float64]], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return the part x, y, w, h of a frame to be shown: a smaller part for a smaller target."""
    width, height = size
    if not boxes:
        return 0, 0, width, height
    low = np.maximum(np.min([box[:2] for box in boxes], axis=0), 0)
    high = np.minimum(np.max([box[:2] + box[2:] for box in boxes], axis=0), size)
    side = math.sqrt(max(float(np.prod(boxes[0][2:])), 1.0))
    needed = float(np.max((high - low) / size)) * 1.2  # share of the frame that shows all boxes
    zoom = min(LARGEST_ZOOM, height / 5 / side, 1 / max(needed, 0.01))
    if zoom < 1.25:
        return 0, 0, width, height
    w, h = max(round(width / zoom), 1), max(round(height / zoom), 1)
    x, y = np.clip((low + high) / 2 - (w / 2, h / 2), 0, (width - w, height - h))
    return round(float(x)), round(float(y)), w, h


def _draw_box(
    picture: Image,
    box: NDArray[np.float64],
    corner: tuple[int, int],
    scale: NDArray[np.float64],
    colour: tuple[int, ...],
    line: int,
) -> None:
    """Draw a box with a dark rim, which is visible on any background."""
    if not np.isfinite(box).all():
        return
    shown = np.concatenate([(box[:2] - corner) * scale, box[2:] * scale])
    draw_box(picture, shown, (20, 20, 20), line + 2, cv2.LINE_AA)
    draw_box(picture, shown, colour, line, cv2.LINE_AA)
