# SPDX-License-Identifier: Apache-2.0
"""Labels video without labels: keeps tracks on which forward and backward tracking agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box, iou
from hcat_ros.engines.base import Engine
from hcat_ros.files import scratch_folder
from hcat_ros.files.pictures import write_picture
from hcat_ros.tracking import Tracker, TrackerConfig
from hcat_ros.tracking.encodings import Image

GRID_SIDE = 160
"""Longer side of the grey images in which motion is detected, pixels."""


@dataclass(frozen=True)
class LabelConfig:
    """Settings that decide which clips are kept."""

    length: int = 60
    """Number of frames in a span of video, the longest possible clip."""
    shortest: int = 12
    """Smallest number of frames in a clip that is kept."""
    agreement: float = 0.7
    """IoU between forward and backward track that every frame of a clip must exceed."""
    travel: float = 0.2
    """Smallest distance that the target must move from its first position, in sizes of its first
    box; 0: any. In a still picture both tracks agree on any box, and nothing can be learned."""
    targets: int = 3
    """Number of targets that are tried in a span."""
    longest_side: int = 640
    """Longest side to which frames are reduced, pixels."""

    def __post_init__(self) -> None:
        for name in ('length', 'shortest', 'targets', 'longest_side'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name} {getattr(self, name)}: expected 1 or more')
        if self.length < self.shortest:
            raise ValueError(f'length {self.length}: expected shortest, {self.shortest}, or more')
        if not 0 < self.agreement < 1:
            raise ValueError(f'agreement {self.agreement}: expected between 0 and 1')
        if not self.travel >= 0:
            raise ValueError(f'travel {self.travel}: expected 0 or more')


class LabelledTrack(NamedTuple):
    """Boxes of a target in the first n frames of a span."""

    boxes: NDArray[np.float64]
    """Mean of the forward and the backward box in each frame, (n, 4) as x y w h."""


def follow_both_ways(
    engine: Engine, frames: Sequence[Image], box: Box, config: LabelConfig
) -> LabelledTrack | None:
    """Return the track of the target in `box`, as far as forward and backward tracking agree.

    Backward tracking starts where forward tracking ended, with a new template from that frame. A
    tracker that has moved to another object does not return to its start (the forward-backward
    error of Kalal et al., 2010, with boxes). If one frame disagrees, the first half of the frames
    is tried, then a quarter, and so on. Returns None if that leaves fewer than `config.shortest`
    frames, or if the target moves less than `config.travel`.
    """
    tracker = Tracker(engine, TrackerConfig(window_penalty=0.35, size_smoothing=0.3))
    there = _follow(tracker, frames, box)
    count = len(frames)
    while count >= config.shortest:
        back = _follow(tracker, frames[count - 1 :: -1], Box(*there[count - 1]))[::-1]
        agreeing = [iou(Box(*a), Box(*b)) > config.agreement for a, b in zip(there[:count], back)]
        if all(agreeing):
            boxes = (there[:count] + back) / 2
            return LabelledTrack(boxes) if _travel(boxes) >= config.travel else None
        count //= 2
    return None


def _travel(boxes: NDArray[np.float64]) -> float:
    """Return the largest distance from the first centre, in sizes of the first box."""
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    farthest = np.linalg.norm(centres - centres[0], axis=1).max()
    return float(farthest / np.sqrt(boxes[0, 2] * boxes[0, 3]))


def _follow(tracker: Tracker, frames: Sequence[Image], box: Box) -> NDArray[np.float64]:
    tracker.init(frames[0], box)
    return np.array([box, *(tracker.update(frame).box for frame in frames[1:])], np.float64)


def propose_targets(first: Image, second: Image, rng: np.random.Generator, count: int) -> list[Box]:
    """Return up to `count` boxes of possible objects in the image `first`, in pixels.

    Regions that move relative to the rest of the image come first, then random regions whose colour
    differs from their surroundings. second: the image some frames later.
    """
    found = _moving(first, second)
    height, width = first.shape[:2]
    small = cv2.resize(first, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
    tries: list[tuple[float, Box]] = []
    for _ in range(40):
        extent, ratio = rng.uniform(0.06, 0.25), np.exp(rng.normal(0, 0.35))
        w, h = min(0.5, extent * ratio), min(0.5, extent / ratio)
        x, y = rng.uniform(0.02, 0.98 - w), rng.uniform(0.02, 0.98 - h)
        box = Box(x * width, y * height, w * width, h * height)
        tries.append((contrast(small, x, y, w, h), box))
    for _, box in sorted(tries, key=lambda one: -one[0]):
        found.append(box)
    chosen: list[Box] = []
    for box in found:
        if min(box.w, box.h) >= 12 and all(iou(box, other) < 0.2 for other in chosen):
            chosen.append(box)
    return chosen[:count]


def contrast(small: NDArray[np.float32], x: float, y: float, w: float, h: float) -> float:
    """Return the difference between the mean colours of a box and of a ring around the box.

    small: an image reduced to (64, 64, 3). x, y, w, h: the box, in 0..1 of the image's sides. The
    ring is half the box's size wide on each side.
    """
    x0, y0, x1, y1 = (round(64 * v) for v in (x, y, x + w, y + h))
    mx, my = max(1, (x1 - x0) // 2), max(1, (y1 - y0) // 2)
    inner = small[y0 : y1 + 1, x0 : x1 + 1]
    outer = small[max(0, y0 - my) : y1 + my + 1, max(0, x0 - mx) : x1 + mx + 1]
    ring = (outer.sum((0, 1)) - inner.sum((0, 1))) / max(1, outer.size // 3 - inner.size // 3)
    return float(np.abs(inner.mean((0, 1)) - ring).sum())


def _moving(first: Image, second: Image) -> list[Box]:
    """Return boxes of regions that move relative to the whole image, the largest first."""
    scale = GRID_SIDE / max(first.shape[:2])
    size = (max(16, round(first.shape[1] * scale)), max(16, round(first.shape[0] * scale)))
    one, other = (
        cv2.GaussianBlur(
            cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY),
            (5, 5),
            0,
        ).astype(np.float32)
        for image in (first, second)
    )
    # Estimate the camera's own motion as one shift of the whole image.
    (dx, dy), _ = cv2.phaseCorrelate(one, other, cv2.createHanningWindow(size, cv2.CV_32F))
    back = cv2.warpAffine(
        other,
        np.array([[1, 0, -dx], [0, 1, -dy]]),
        size,
        borderMode=cv2.BORDER_REPLICATE,
    )
    change = np.abs(one - back)
    # A pixel moved if its change is well above the median change and above a camera's noise.
    moved = (change > max(12.0, 4 * float(np.median(change)))).astype(np.uint8)
    closed = cv2.morphologyEx(moved, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(closed)
    boxes = []
    for x, y, w, h, area in sorted(stats[1:].tolist(), key=lambda row: -row[4]):
        share = w * h / (size[0] * size[1])
        if 0.002 < share < 0.25 and area > 0.25 * w * h:
            boxes.append(Box(x / scale, y / scale, w / scale, h / scale))
    return boxes


def reduce_size(image: Image, longest_side: int) -> Image:
    """Return an image whose longer side is at most `longest_side` pixels."""
    scale = longest_side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def write_clip(folder: Path, frames: Sequence[Image], boxes: NDArray[np.float64]) -> None:
    """Write frames and groundtruth.txt as a clip of the plain layout, atomically."""
    with scratch_folder(folder.name, folder.parent) as scratch:
        partial = scratch / folder.name
        partial.mkdir()
        _write_into(partial, frames, boxes)
        partial.rename(folder)


def _write_into(partial: Path, frames: Sequence[Image], boxes: NDArray[np.float64]) -> None:
    for number, frame in enumerate(frames, 1):
        write_picture(partial / f'{number:04d}.webp', frame, [cv2.IMWRITE_WEBP_QUALITY, 90])
    lines = (','.join(f'{value:.2f}' for value in box) for box in boxes)
    (partial / 'groundtruth.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')
