# SPDX-License-Identifier: Apache-2.0
"""Benchmark of several targets: time of a frame, overlap together and alone, swaps at crossings.

Cut-outs move over a photograph along straight lines that cross. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from hcat_ros.boxes import Box, iou
from hcat_ros.engines import load_engine
from hcat_ros.engines.base import Engine
from hcat_ros.markdown import table_head, table_row
from hcat_ros.models import DEFAULT_MODEL, load_model
from hcat_ros.simulation.pictures import load_pictures
from hcat_ros.tracking import Tracker, TrackerConfig
from hcat_ros.tracking.encodings import Image
from hcat_ros.tracking.frame_buffer import StampedFrame
from hcat_ros.tracking.session import TrackedFrame, TrackingSession, target_ids
from hcat_ros.tracking.target_requests import TargetRequest

SIZE = (960, 540)
HEIGHT = 90
"""Height of a target, pixels."""
INTERVAL = 1 / 30
SHOWN = 0.4
"""Smallest visible share of a target at which its overlap counts."""
COUNTS = (1, 2, 4, 8)


class Truth(NamedTuple):
    """True position of a target in a frame."""

    box: Box
    shown: float
    """Share of the target that is not covered."""


class Crossing:
    """A scene with `count` targets; later targets pass in front of earlier ones."""

    def __init__(self, count: int, seed: int, pictures: Path | None = None) -> None:
        rng = np.random.default_rng(seed)
        made = load_pictures(pictures, rng, count)
        self._ground = np.asarray(cv2.resize(made.panorama[0], SIZE), np.uint8)
        self._things = [_scale(picture) for picture in made.targets[:count]]
        width, height = SIZE
        # Targets move from places on a circle to the other side, so that all cross near the middle.
        angles = 2 * np.pi * (np.arange(count) + rng.uniform(0, 0.2, count)) / count
        radius = np.array([0.4 * width, 0.36 * height])
        self._from = np.stack((np.cos(angles), np.sin(angles)), 1) * radius
        self._period = rng.uniform(130, 200, count)

    def frame(self, number: int) -> tuple[Image, list[Truth]]:
        """Return a frame, BGR, and the true positions of the targets."""
        image = self._ground.copy()
        owner = np.full(image.shape[:2], -1)
        boxes, areas = [], []
        for place, thing in enumerate(self._things):
            swing = np.cos(np.pi * number / self._period[place])
            middle = np.array(SIZE) / 2 + self._from[place] * swing
            h, w = thing.shape[:2]
            x, y = (round(float(value)) for value in middle - (w / 2, h / 2))
            x, y = min(max(x, 0), SIZE[0] - w), min(max(y, 0), SIZE[1] - h)
            alpha = thing[..., 3:].astype(np.float32) / 255
            part = image[y : y + h, x : x + w]
            part[:] = (alpha * thing[..., :3] + (1 - alpha) * part).astype(np.uint8)
            solid = thing[..., 3] >= 128
            owner[y : y + h, x : x + w][solid] = place
            boxes.append(Box(float(x), float(y), float(w), float(h)))
            areas.append(int(solid.sum()))
        shown = [float((owner == place).sum()) / areas[place] for place in range(len(boxes))]
        return image, [Truth(box, share) for box, share in zip(boxes, shown)]


def _scale(picture: Image) -> Image:
    width = max(1, round(picture.shape[1] * HEIGHT / picture.shape[0]))
    return np.asarray(cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


class Outcome(NamedTuple):
    """Result of following the targets of a scene."""

    overlaps: list[float]
    """Mean IoU of each target over the frames in which it is visible."""
    swaps: int
    """Number of targets that end at the place of another target."""
    milliseconds: float
    """Median time of a frame, ms."""


def follow(
    scene: Crossing, targets: Sequence[int], frames: int, engine: Engine, config: TrackerConfig
) -> Outcome:
    """Follow some of a scene's targets together."""
    session = TrackingSession(
        Tracker(engine, config), 0, 0.1, lambda kind, reason: None, target_ids(), len(targets)
    )
    image, truths = scene.frame(0)
    list(session.add_frame(StampedFrame(1, None, image, 'bgr8')))
    for target in targets:
        list(session.request(TargetRequest(truths[target].box, 0, str(target))))
    overlaps: dict[int, list[float]] = {target: [] for target in targets}
    times = []
    for number in range(1, frames):
        image, truths = scene.frame(number)
        frame = StampedFrame(round(1 + number * INTERVAL * 1e9), None, image, 'bgr8')
        began = time.perf_counter()
        tracked = list(session.add_frame(frame))
        times.append(time.perf_counter() - began)
        for target, box in _boxes(tracked):
            if truths[target].shown >= SHOWN:
                overlaps[target].append(float(iou(box, truths[target].box)))
    swaps = 0
    for one in session.targets:
        own = int(one.request.class_id)
        others = [n for n in range(len(truths)) if n != own]
        on = [n for n in others if iou(one.place, truths[n].box) > 0.5]
        swaps += bool(on) and not one.is_lost and iou(one.place, truths[own].box) < 0.3
    means = [float(np.mean(overlaps[target])) for target in targets]
    return Outcome(means, swaps, 1e3 * float(np.median(times)))


def _boxes(tracked: Sequence[TrackedFrame]) -> Iterator[tuple[int, Box]]:
    for one in tracked:
        if one.track is not None:
            yield int(one.class_id), one.track.box
        for other in one.others:
            yield int(other.class_id), other.track.box


def main() -> None:
    """Parse the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--counts', type=int, nargs='+', default=list(COUNTS))
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--frames', type=int, default=240)
    parser.add_argument('--pictures', type=Path, help='folder with photos/ and cutouts/')
    parser.add_argument('--model', default=DEFAULT_MODEL)
    parser.add_argument('--engine', default='onnxruntime')
    parser.add_argument('--precision', default='int8')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    model = load_model(arguments.model)
    engine = load_engine(model, arguments.engine, arguments.precision, threads=1)
    config = TrackerConfig(**model.card.tracking)
    print(table_head(('targets', 'ms a frame', 'mean IoU together', 'alone', 'swaps'), 'r'))
    for count in arguments.counts:
        together, alone, swaps, times = [], [], 0, []
        for seed in range(arguments.seeds):
            scene = Crossing(count, seed, arguments.pictures)
            found = follow(scene, range(count), arguments.frames, engine, config)
            together += found.overlaps
            times.append(found.milliseconds)
            swaps += found.swaps
            for target in range(count):
                one = follow(scene, [target], arguments.frames, engine, config)
                alone += one.overlaps
        cells = (
            f'{count}',
            f'{np.median(times):.1f}',
            f'{np.mean(together):.3f}',
            f'{np.mean(alone):.3f}',
            f'{swaps} of {count * arguments.seeds}',
        )
        print(table_row(cells), flush=True)


if __name__ == '__main__':
    main()
