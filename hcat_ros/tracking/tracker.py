# SPDX-License-Identifier: Apache-2.0
"""The tracker: one target, one pass, no template update."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hcat_ros.boxes import Box, checked_target_box, iou
from hcat_ros.engines.base import Engine, EngineError, Features
from hcat_ros.tracking.box_correction import BoxCorrection, estimate_correction, regions_to_view
from hcat_ros.tracking.confidence import Confidence, TargetState, Thresholds
from hcat_ros.tracking.crop import (
    SEARCH_FACTOR,
    TEMPLATE_FACTOR,
    crop_resized,
    crop_side,
    mean_colour,
)
from hcat_ros.tracking.encodings import Image, checked_frame, part_encoding, to_rgb
from hcat_ros.tracking.scan import MIN_SIZE, Scan
from hcat_ros.tracking.window import penalised

SAME_BOX = 0.4
"""Minimum IoU of a detector's box and the network's box for both to show the same target."""
ADVANTAGE = 0.03
"""Minimum score advantage before the tracker jumps to a location that the scan found."""

SCORE_SLACK = 0.01
"""Tolerance for scores outside 0..1, which rounding at low precision can cause."""


@dataclass(frozen=True)
class TrackerConfig:
    """Settings for turning the network's output into a track; a model card holds its values."""

    window_penalty: float = 0.42
    """Weight in 0..1 of the Hanning window: 0 uses the scores alone, 1 never moves."""
    size_smoothing: float = 1.0
    """Weight in (0, 1] of the measured size in the new size; 1: no smoothing."""
    uncertain_threshold: float = 0.0
    """Share in 0..1 of the target's own score below which it counts as uncertain; 0: never."""
    lost_threshold: float = 0.0
    """Share in 0..1 of the target's own score below which it counts as lost; 0: never."""
    found_threshold: float = 0.95
    """Share of the own score at which a lost or uncertain target counts as tracked again, 0..1."""
    scan_regions: int = 1
    """Number of further search regions, 0 to 16, in each frame while the target is lost."""
    box_correction: float = 0.0
    """Share in 0..1 of the difference between the init box and the network's box in the first frame
    by which every later box is corrected; 0: no correction, and no search of the first frame."""

    def __post_init__(self) -> None:
        if not 0 <= self.window_penalty <= 1:
            raise ValueError(f'window_penalty {self.window_penalty}: expected 0 to 1')
        if not 0 < self.size_smoothing <= 1:
            raise ValueError(f'size_smoothing {self.size_smoothing}: expected above 0, at most 1')
        shares = 'box_correction', 'uncertain_threshold', 'lost_threshold', 'found_threshold'
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} {getattr(self, name)}: expected 0 to 1')
        if not 0 <= self.scan_regions <= 16:
            raise ValueError(f'scan_regions {self.scan_regions}: expected 0 to 16')

    @property
    def thresholds(self) -> Thresholds:
        """The three thresholds, for `Confidence.update`."""
        return Thresholds(self.uncertain_threshold, self.lost_threshold, self.found_threshold)


class _Frame(NamedTuple):
    """An image with its encoding and the fill colour for crops that reach outside it."""

    image: Image
    encoding: str
    fill: tuple[float, ...]


class _Peak(NamedTuple):
    """Best cell of the score map in one search: box in frame pixels, raw score."""

    box: Box
    score: float


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
    """Score of the chosen cell before the window penalty. With the penalty the score would stay
    high near the centre after the target has gone."""
    state: TargetState


class Tracker:
    """Follows one target through frames. The same frames and configuration give the same tracks.

    Call `init(frame, box)` once, then `update(frame)` for each frame. Frames are uint8 arrays in
    one of `encodings.ENCODINGS`; only the crops are converted to RGB, not the whole frame. Several
    trackers may share one engine.
    """

    def __init__(self, engine: Engine, config: TrackerConfig | None = None) -> None:
        self.engine = engine
        self.config = config or TrackerConfig()
        self.has_target = False
        """Whether there is a target: from `init` to `drop_target`."""
        self._features: Features = None
        self._fill: tuple[float, ...] = ()
        self._encoding = ''
        # The box stays in float64: rounding to float32 could change the ceil in the crop's side.
        self._box = Box(0.0, 0.0, 0.0, 0.0)
        self._correction = BoxCorrection()
        """Correction from the network's box of the target to the init box."""
        self._previous_box = self._box
        """Box of the target before the last `update`."""
        self._confidence = Confidence()
        self._sure_box = self._box
        """Box of the last frame that scored at least `found_threshold` while tracking."""
        self._scan = Scan(self._sure_box)
        self.stage_times = StageTimes(0.0, 0.0, 0.0)
        """Times of the last `update`."""

    def drop_target(self) -> None:
        """Forget the target; `update` needs another `init`."""
        self.has_target = False
        self._features = None

    @property
    def smoothed_share(self) -> float:
        """The smoothed score as a share of the target's own score."""
        return self._confidence.smoothed_share

    def step_back(self) -> Track:
        """Return to the box before the last `update`; return it as a track with score 0.

        A tracked target becomes uncertain. Use this method when the tracker has jumped to an object
        that another tracker follows.
        """
        self._box = self._previous_box
        self._confidence.doubt()
        return Track(self._box, 0.0, self._confidence.state)

    def find_in(self, frame: Image, box: ArrayLike, encoding: str = 'bgr8') -> bool:
        """Resume a lost target in a detector's box; return whether the target is there.

        The match around the box must reach `found_threshold` and overlap the detector's box; the
        tracker continues from the network's box, not from the detector's. The caller checks that
        the target is lost. Raises the errors of `update`, and ValueError for a box outside the
        frame.
        """
        if not self.has_target:
            raise RuntimeError('no target: call init(frame, box) before find_in(frame, box)')
        frame = checked_frame(frame, encoding)
        detected = checked_target_box(box, frame.shape[1], frame.shape[0])
        fill = self._fill if encoding == self._encoding else mean_colour(frame, encoding)
        seen = self._find(_Frame(frame, encoding, fill), detected, 0.0, [])
        share = self._confidence.share(seen.score)
        if share < self.config.found_threshold or iou(seen.box, detected) < SAME_BOX:
            return False
        self._box = self._previous_box = seen.box
        self._confidence.confirm(share)
        return True

    def configure(self, **changes: Any) -> None:
        """Change fields of the configuration, from the next `update` on. Raises ValueError.

        `box_correction` takes effect with the next `init`.
        """
        self.config = replace(self.config, **changes)

    def init(self, frame: Image, box: ArrayLike, encoding: str = 'bgr8') -> None:
        """Take the target in `box` (x, y, w, h pixels) of `frame` as the template.

        With `box_correction` above 0 and the box inside the frame, five searches of the same frame
        measure the correction, see `box_correction.py`. Raises ValueError, naming the value, for a
        frame that does not fit its encoding and for a box that `checked_target_box` refuses;
        EngineError when the engine fails. After an error the previous target is kept.
        """
        frame = checked_frame(frame, encoding)
        target = checked_target_box(box, frame.shape[1], frame.shape[0])
        fill = mean_colour(frame, encoding)
        size = self.engine.card.template_size
        crop = self._crop(frame, encoding, target, TEMPLATE_FACTOR, size, fill)
        features = self.engine.template(crop)
        self._correction = self._measure_correction(_Frame(frame, encoding, fill), target, features)
        self._features = features
        self._fill, self._encoding = fill, encoding
        self._box = self._previous_box = self._sure_box = target
        self._confidence = Confidence()
        self.has_target = True

    def update(self, frame: Image, encoding: str = 'bgr8') -> Track:
        """Find the target in the next frame.

        Raises ValueError for a frame that does not fit its encoding, RuntimeError before
        `init`, EngineError when the engine fails. An error leaves the target's state unchanged.
        """
        if not self.has_target:
            raise RuntimeError('no target: call init(frame, box) before update(frame)')
        frame = checked_frame(frame, encoding)
        # A stream that has changed its encoding needs its fill colour in the new one.
        fill = self._fill if encoding == self._encoding else mean_colour(frame, encoding)
        height, width = frame.shape[:2]
        # The centre of the last box can be outside of this frame: the init box may reach over the
        # border, or the frames may have become smaller.
        old = Box.from_center(
            _between(0.0, self._box.cx, width), _between(0.0, self._box.cy, height), *self._box[2:]
        )
        times: list[StageTimes] = []
        seen = self._find(_Frame(frame, encoding, fill), old, self.config.window_penalty, times)
        base, share = old, self.config.size_smoothing
        state, found = self._confidence.state, False
        if state is TargetState.LOST:
            elsewhere = self._look_elsewhere(_Frame(frame, encoding, fill), seen.score, times)
            if elsewhere is not None:
                seen, base, found = elsewhere, self._sure_box, True
        self._fill, self._encoding = fill, encoding
        self._previous_box = old
        old_state, state = state, self._confidence.update(seen.score, self.config.thresholds)
        if state is TargetState.LOST:
            # The search region probably shows another object, so its size is ignored. A match of
            # the scan may be the target, and its size may have changed since it was lost.
            share = 1.0 if found else 0.0
        self._box = Box.from_center(
            _between(0.0, seen.box.cx, width),
            _between(0.0, seen.box.cy, height),
            _between(MIN_SIZE, (1 - share) * base.w + share * seen.box.w, width),
            _between(MIN_SIZE, (1 - share) * base.h + share * seen.box.h, height),
        )
        if state is TargetState.LOST and old_state is not TargetState.LOST:
            self._scan = Scan(self._sure_box)
        elif self._confidence.share(seen.score) >= self.config.found_threshold and (
            state is TargetState.TRACKING
        ):
            self._sure_box = self._box
        self.stage_times = StageTimes(*(sum(stage) for stage in zip(*times)))
        return Track(self._box, seen.score, state)

    def _measure_correction(self, frame: _Frame, target: Box, features: Features) -> BoxCorrection:
        """Return the correction from the network's box to the init box in the first frame."""
        height, width = frame.image.shape[:2]
        is_whole = target.x >= 0 and target.y >= 0
        is_whole &= target.x + target.w <= width and target.y + target.h <= height
        if self.config.box_correction == 0 or not is_whole:
            return BoxCorrection()
        penalty = self.config.window_penalty
        seen = [
            self._search(frame, region, features, penalty, []) for region in regions_to_view(target)
        ]
        return estimate_correction(target, [one.box for one in seen], self.config.box_correction)

    def _find(
        self, frame: _Frame, around: Box, window_penalty: float, times: list[StageTimes]
    ) -> _Peak:
        """Return the best match for the target in the search region around a box, corrected."""
        seen = self._search(frame, around, self._features, window_penalty, times)
        return seen._replace(box=self._correction.apply(seen.box))

    def _search(
        self,
        frame: _Frame,
        around: Box,
        features: Features,
        window_penalty: float,
        times: list[StageTimes],
    ) -> _Peak:
        """Return the best match for these features around a box, with the network's own box."""
        started = time.perf_counter()
        size = self.engine.card.search_size
        crop = self._crop(frame.image, frame.encoding, around, SEARCH_FACTOR, size, frame.fill)
        cropped = time.perf_counter()
        prediction = self.engine.search(crop, features)
        searched = time.perf_counter()
        scores = prediction.scores
        best = int(np.argmax(penalised(scores, window_penalty)))
        score = float(scores.flat[best])
        cx, cy, w, h = (float(value) for value in prediction.boxes[best])
        if not np.isfinite((score, cx, cy, w, h)).all():
            raise EngineError(
                f'{self.engine.card.runtime} returned values that are not finite; '
                'try another precision'
            )
        if not -SCORE_SLACK <= score <= 1 + SCORE_SLACK:
            raise EngineError(
                f'{self.engine.card.runtime} returned a score of {score:g}: expected 0 to 1; '
                'is this an HCAT model?'
            )
        score = min(1.0, max(0.0, score))
        side = crop_side(around.w, around.h, SEARCH_FACTOR)
        centre = around.cx + side * cx - side / 2, around.cy + side * cy - side / 2
        seen = _Peak(Box.from_center(*centre, side * w, side * h), score)
        decoded = time.perf_counter() - searched
        times.append(StageTimes(cropped - started, searched - cropped, decoded))
        return seen

    def _look_elsewhere(self, frame: _Frame, score: float, times: list[StageTimes]) -> _Peak | None:
        """Scan for the lost target; return a match that beats `score`, else None.

        score: score of the search around the target's box.
        """
        if self._confidence.confirming:
            return None
        height, width = frame.image.shape[:2]
        for _ in range(self.config.scan_regions):
            # No window penalty: the target may be anywhere in the region.
            seen = self._find(frame, self._scan.next(width, height), 0.0, times)
            share, needed = self._confidence.share(seen.score), self.config.found_threshold
            if 0 < self.config.uncertain_threshold <= share < needed:
                # This match may be the target at another distance. In a second search with the
                # size of the match, the target scores as before; another object hardly does.
                seen = self._find(frame, seen.box, 0.0, times)
                share = self._confidence.share(seen.score)
                needed = (1 + needed) / 2
            if share >= needed and seen.score > score + ADVANTAGE:
                self._scan = Scan(self._sure_box)
                return seen
        return None

    def _crop(
        self,
        frame: Image,
        encoding: str,
        box: Box,
        factor: int,
        size: int,
        fill: tuple[float, ...],
    ) -> Image:
        """Return the resized square around the box, (size, size, 3), as RGB."""
        side = crop_side(box.w, box.h, factor)
        crop = crop_resized(frame, box.cx, box.cy, side, size, fill, encoding)
        return to_rgb(crop, part_encoding(encoding))


def _between(low: float, value: float, high: float) -> float:
    """Return `value` limited to low..high, or `low` if low > high."""
    return max(low, min(value, float(high)))


def warm_up(engine: Engine) -> None:
    """Run both graphs of an engine once, so that the first frame is as fast as later frames."""
    tracker = Tracker(engine)
    blank = np.zeros((64, 64, 3), np.uint8)
    tracker.init(blank, (16, 16, 32, 32))
    for _ in range(2):
        tracker.update(blank)
