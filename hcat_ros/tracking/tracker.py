# SPDX-License-Identifier: Apache-2.0
"""The tracker: one target, one pass, no template update."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hcat_ros.boxes import Box, checked_target_box
from hcat_ros.engines.base import Engine, EngineError, Features
from hcat_ros.tracking.confidence import TargetState, target_state
from hcat_ros.tracking.crop import (
    SEARCH_FACTOR,
    TEMPLATE_FACTOR,
    crop_resized,
    crop_side,
    mean_colour,
)
from hcat_ros.tracking.encodings import Image, checked_frame, to_rgb
from hcat_ros.tracking.window import penalised

MIN_SIZE = 10.0
"""A tracked target is never smaller than this, in pixels."""


@dataclass(frozen=True)
class TrackerConfig:
    """How the network's answers become a track. A model's card holds its best values."""

    window_penalty: float = 0.42
    """a in 0..1: 0 trusts the scores alone, 1 never moves."""
    size_smoothing: float = 1.0
    """Share in (0, 1] of the measured size in the new size; 1 takes it as it is."""
    lost_threshold: float = 0.0
    """Raw score in 0..1 below which the target counts as lost; 0 never."""

    def __post_init__(self) -> None:
        if not 0 <= self.window_penalty <= 1:
            raise ValueError(f'window_penalty {self.window_penalty}: expected 0 to 1')
        if not 0 < self.size_smoothing <= 1:
            raise ValueError(f'size_smoothing {self.size_smoothing}: expected above 0, at most 1')
        if not 0 <= self.lost_threshold <= 1:
            raise ValueError(f'lost_threshold {self.lost_threshold}: expected 0 to 1')


class StageTimes(NamedTuple):
    """Seconds that the parts of one `Tracker.update` took."""

    crop: float
    engine: float
    decode: float


@dataclass(frozen=True)
class Track:
    """Where the target is: box in frame pixels, raw score in 0..1, state."""

    box: Box
    score: float
    """The network's own probability of the chosen cell, before the window penalty, which
    would keep it high near the centre after the target has gone."""
    state: TargetState


class Tracker:
    """Follows one target through frames; a pure function of frames and configuration.

    `init(frame, box)` once, then `update(frame)` for each frame. Frames are uint8 arrays in
    one of `encodings.ENCODINGS`; crops are cut from them as they are and only the crop's
    colours are swapped. The engine may be shared by several trackers.
    """

    def __init__(self, engine: Engine, config: TrackerConfig | None = None) -> None:
        self.engine = engine
        self.config = config or TrackerConfig()
        self.has_target = False
        """Whether `init` has named a target."""
        self._features: Features = None
        self._fill: tuple[float, ...] = ()
        self._encoding = ''
        # The state in float64: float32 can flip the ceil in the crop's side.
        self._box = Box(0.0, 0.0, 0.0, 0.0)
        self.stage_times = StageTimes(0.0, 0.0, 0.0)
        """Of the last `update`."""

    def drop_target(self) -> None:
        """Forget the target; `update` needs another `init`."""
        self.has_target = False
        self._features = None

    def configure(self, **changes: float) -> None:
        """Change fields of the configuration, from the next `update` on. Raises ValueError."""
        self.config = replace(self.config, **changes)

    def init(self, frame: Image, box: ArrayLike, encoding: str = 'bgr8') -> None:
        """Take the target in `box` (x, y, w, h pixels) of `frame` as the template.

        Raises ValueError, naming the value, for a frame that does not fit its encoding and
        for a box that is not finite, under one pixel or out of the frame; a target being
        tracked is then kept.
        """
        frame = checked_frame(frame, encoding)
        target = checked_target_box(box, frame.shape[1], frame.shape[0])
        fill = mean_colour(frame)
        crop = self._crop(frame, target, TEMPLATE_FACTOR, self.engine.card.template_size, fill)
        self._features = self.engine.template(to_rgb(crop, encoding))
        self._fill, self._encoding = fill, encoding
        self._box = target
        self.has_target = True

    def update(self, frame: Image, encoding: str = 'bgr8') -> Track:
        """Find the target in the next frame.

        Raises ValueError for a frame that does not fit its encoding, RuntimeError before
        `init`, EngineError when the engine fails; the state is then as before the call.
        """
        if not self.has_target:
            raise RuntimeError('no target: call init(frame, box) before update(frame)')
        started = time.perf_counter()
        frame = checked_frame(frame, encoding)
        # A stream that has changed its encoding needs its fill colour in the new one.
        fill = self._fill if encoding == self._encoding else mean_colour(frame)
        height, width = frame.shape[:2]
        # The last position can be outside: after a box that reaches into the frame from there,
        # or when the stream has become smaller.
        old = Box.from_center(
            _between(0.0, self._box.cx, width), _between(0.0, self._box.cy, height), *self._box[2:]
        )
        crop = self._crop(frame, old, SEARCH_FACTOR, self.engine.card.search_size, fill)
        rgb = to_rgb(crop, encoding)
        cropped = time.perf_counter()
        prediction = self.engine.search(rgb, self._features)
        searched = time.perf_counter()

        scores = prediction.scores
        best = int(np.argmax(penalised(scores, self.config.window_penalty)))
        score = float(scores.flat[best])
        cx, cy, w, h = (float(value) for value in prediction.boxes[best])
        if not np.isfinite((score, cx, cy, w, h)).all():
            raise EngineError(
                f'{self.engine.card.runtime} returned values that are not finite; '
                'try another precision'
            )
        side = crop_side(old.w, old.h, SEARCH_FACTOR)
        share = self.config.size_smoothing
        self._fill, self._encoding = fill, encoding
        self._box = Box.from_center(
            _between(0.0, old.cx + side * cx - side / 2, width),
            _between(0.0, old.cy + side * cy - side / 2, height),
            _between(MIN_SIZE, (1 - share) * old.w + share * side * w, width),
            _between(MIN_SIZE, (1 - share) * old.h + share * side * h, height),
        )
        self.stage_times = StageTimes(
            cropped - started, searched - cropped, time.perf_counter() - searched
        )
        return Track(self._box, score, target_state(score, self.config.lost_threshold))

    def _crop(
        self, frame: Image, box: Box, factor: int, size: int, fill: tuple[float, ...]
    ) -> Image:
        """Return the square around the box, in the frame's encoding."""
        return crop_resized(frame, box.cx, box.cy, crop_side(box.w, box.h, factor), size, fill)


def _between(low: float, value: float, high: float) -> float:
    """Return `value` limited to low..high; `low` wins where the two cross."""
    return max(low, min(value, float(high)))


def warm_up(engine: Engine) -> None:
    """Run both graphs of an engine, so that the first frame is as fast as the others."""
    tracker = Tracker(engine)
    blank = np.zeros((64, 64, 3), np.uint8)
    tracker.init(blank, (16, 16, 32, 32))
    for _ in range(2):
        tracker.update(blank)
