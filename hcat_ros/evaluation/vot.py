# SPDX-License-Identifier: Apache-2.0
"""VOT's multi-start experiment on boxes: accuracy, robustness, expected average overlap (EAO).

Kristan et al., "The Eighth Visual Object Tracking VOT2020 Challenge Results", ECCV Workshops
2020. A tracker starts anew at many frames of a sequence, the anchors, and runs to the farther
end, forward or backward in time; it fails where it stays off the target. Where VOT's toolkit
(0.9.0) differs from the paper's text, this module agrees with the toolkit, which computed the
published numbers; comments mark these places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcat_ros.evaluation.annotation_files import parse_number
from hcat_ros.files import read_text

PERIOD = 50
"""Number of frames from anchor to anchor."""
FAILURE_OVERLAP = 0.1
"""Largest overlap at which a frame counts as missed."""
PATIENCE = 10
"""Number of consecutive missed frames that make a failure, which begins at the first of them."""
EAO_RANGE = (115, 755)
"""Range of run lengths, in frames, over which the EAO is averaged in VOT-ST2020 to 2022."""


class Anchor(NamedTuple):
    """A frame in which a tracker starts, and its direction in time."""

    frame: int
    backward: bool

    def order(self, count: int) -> range:
        """Return the numbers of a sequence's frames in the order of this anchor's run."""
        return range(self.frame, -1, -1) if self.backward else range(self.frame, count)


@dataclass(frozen=True)
class AnchoredRun:
    """The result of a run that started at an anchor."""

    anchor: Anchor
    count: int
    """Number of frames of the sequence."""
    overlaps: NDArray[np.float64]
    """Overlap of each frame in the order of the run, (n,); 0 in the first frame."""
    kept: int
    """Number of frames before the failure; n if there was no failure."""

    @property
    def failed(self) -> bool:
        """Whether the tracker lost its target for good."""
        return self.kept < len(self.overlaps)


class VotScore(NamedTuple):
    """The measures of the experiment."""

    accuracy: float
    """Mean overlap of the frames before failures."""
    robustness: float
    """Share of the frames before failures."""
    eao: float
    """Mean of the curve over `EAO_RANGE`."""
    eao_curve: NDArray[np.float64]
    """Entry n is the expected average overlap over the n frames after a start, (high,)."""


def anchors(count: int, period: int = PERIOD, usable: ArrayLike | None = None) -> list[Anchor]:
    """Return anchors for a sequence of `count` frames: every `period`-th frame and the last one.

    Each anchor runs to the farther end. `usable` (count,) bool says in which frames a tracker can
    start (default: all). An anchor on another frame moves along its run to a usable frame; it is
    left out if there is none within `period` frames. VOT's own sequences come with anchors that
    were adjusted by hand (`read_anchors`).
    """
    if count < 1 or period < 1:
        raise ValueError(f'{count} frames with an anchor every {period}: both must be positive')
    allowed = np.ones(count, bool) if usable is None else np.asarray(usable, bool)
    if allowed.shape != (count,):
        raise ValueError(f'usable has the shape {allowed.shape}, expected ({count},)')
    found: dict[Anchor, None] = {}
    for frame in sorted({*range(0, count, period), count - 1}):
        backward = frame >= count - frame
        order = Anchor(frame, backward).order(count)[:period]
        start = next((number for number in order if allowed[number]), None)
        if start is not None:
            found[Anchor(start, backward)] = None
    return list(found)


def read_anchors(path: Path, count: int) -> list[Anchor]:
    """Return the anchors in VOT's file `anchor.value`, for a sequence of `count` frames.

    The file holds one number per frame: above 0 for a forward anchor, below 0 for a backward one,
    else 0. Raises OSError; ValueError for other content.
    """
    try:
        values = [parse_number(value) for value in read_text(path).split()]
    except ValueError as error:
        raise ValueError(f'{path}: expected a number per frame ({error})') from None
    if len(values) > count:
        raise ValueError(f'{path} has {len(values)} numbers for {count} frames')
    found = [Anchor(frame, value < 0) for frame, value in enumerate(values) if value]
    if not found:
        raise ValueError(f'{path} has no anchor; without the file, every {PERIOD}th frame is one')
    return found


def pixel_overlaps(
    boxes: ArrayLike, truth: ArrayLike, size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return VOT's overlap of boxes (n, 4) as x y w h in frames of `size` (width, height), (n,).

    The boxes are rounded to whole pixels and only pixels in the frame count. A NaN box covers no
    pixel; two empty boxes overlap fully.
    """
    low_a, high_a, some_a = _pixels(boxes)
    low_b, high_b, some_b = _pixels(truth)
    low, high = np.minimum(low_a, low_b), np.maximum(high_a, high_b)
    # As in the toolkit: boxes whose union is at most one pixel wide or high overlap fully.
    same = (low >= high).any(axis=1)
    low, high = np.maximum(low, 0), np.minimum(high, np.asarray(size) - 1)
    outside = (low >= high).any(axis=1)

    def area(first: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.float64]:
        sides = np.minimum(last, high) - np.maximum(first, low) + 1
        return np.asarray(np.prod(np.maximum(sides, 0), axis=1))

    both = area(np.maximum(low_a, low_b), np.minimum(high_a, high_b)) * (some_a & some_b)
    either = area(low_a, high_a) * some_a + area(low_b, high_b) * some_b - both
    share = both / np.maximum(either, 1)
    return np.asarray(np.where(same, 1.0, np.where(outside, 0.0, share)))


class _Pixels(NamedTuple):
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    some: NDArray[np.bool_]


def _pixels(boxes: ArrayLike) -> _Pixels:
    """Return the first and last pixel of boxes, (n, 2) each, and which boxes are not NaN, (n,)."""
    # The toolkit computes in float32, which affects the rounding.
    rounded = np.round(np.asarray(boxes, np.float32)).astype(np.float64)
    some = np.asarray(~np.isnan(rounded).any(axis=1))
    rounded[~some] = (0, 0, 1, 1)  # the toolkit's values of a missing box
    return _Pixels(rounded[:, :2], rounded[:, :2] + rounded[:, 2:] - 1, some)


def anchored_run(
    anchor: Anchor, boxes: ArrayLike, truth: ArrayLike, size: tuple[int, int]
) -> AnchoredRun:
    """Score a tracker's answers from an anchor on.

    Args:
        anchor: the start and direction of the run.
        boxes: (n, 4) as x y w h, in the order of the run, NaN where the tracker gave none. The
            first row, the start, is ignored.
        truth: (count, 4), of the whole sequence in its own order; NaN where there is no target.
        size: (width, height) of the frames.

    Raises:
        ValueError: if the number of boxes is not that of the run's frames.

    """
    whole = np.asarray(truth, np.float64)
    order = np.asarray(anchor.order(len(whole)))
    answers = np.asarray(boxes, np.float64)
    if answers.shape != (len(order), 4):
        raise ValueError(
            f'boxes of the shape {answers.shape} from frame {anchor.frame} of {len(whole)} '
            f'{"backward" if anchor.backward else "forward"}, expected ({len(order)}, 4)'
        )
    expected = whole[order]
    overlap = pixel_overlaps(answers, expected, size)
    overlap[0] = 0  # as in the toolkit: a start counts as a frame without overlap
    present = (expected[:, 2:] > 0).all(axis=1)
    missed = (overlap <= FAILURE_OVERLAP) & present
    kept, consecutive = len(overlap), 0
    for number, miss in enumerate(missed.tolist()):
        consecutive = consecutive + 1 if miss else 0
        if consecutive == PATIENCE:
            kept = number + 1 - PATIENCE
            break
    overlap[kept:] = 0
    return AnchoredRun(anchor, len(whole), overlap, kept)


def multi_start(
    sequences: Sequence[Sequence[AnchoredRun]], eao_range: tuple[int, int] = EAO_RANGE
) -> VotScore:
    """Return the measures of the experiment over sequences, each with the runs from its anchors.

    Accuracy is the mean overlap of all frames before failures. Robustness is the share of such
    frames in each sequence, averaged over the sequences by their length. The EAO curve is 0 at
    lengths that no run reaches: for sequences shorter than VOT's, give the usual range of their
    lengths as `eao_range`.

    Raises ValueError if a sequence has no run, or if there is no sequence.
    """
    if not sequences or not all(sequences):
        raise ValueError('a sequence without a run from an anchor has no score')
    low, high = eao_range
    if not 0 < low < high:
        raise ValueError(f'eao_range is {low} to {high}, expected 0 < low < high')
    runs = [run for sequence in sequences for run in sequence]
    kept = sum(run.kept for run in runs)
    overlap = sum(float(run.overlaps.sum()) for run in runs)
    lengths = [sequence[0].count for sequence in sequences]
    shares = [
        sum(run.kept for run in sequence) / sum(len(run.overlaps) for run in sequence)
        for sequence in sequences
    ]
    curve = eao_curve(runs, high)
    return VotScore(
        overlap / kept if kept else 0.0,
        float(np.average(shares, weights=lengths)),
        float(curve[low:].mean()),
        curve,
    )


def eao_curve(runs: Sequence[AnchoredRun], length: int) -> NDArray[np.float64]:
    """Return the EAO curve (length,): entry n is the mean overlap over the n frames after a start.

    A run counts up to its last frame; a failed run continues without end at overlap 0.
    """
    total, active = np.zeros(length), np.zeros(length)
    after = np.arange(length)
    for run in runs:
        sums = np.cumsum(run.overlaps[1:])
        within = after[1 : len(run.overlaps)]
        total[within] += sums[: len(within)] / within
        active[within] += 1
        if run.failed:
            beyond = after[max(len(run.overlaps), 2) :]
            # As in the toolkit, the mean divides by one frame less.
            total[beyond] += sums[-1] / (beyond - 1)
            active[beyond] += 1
    return np.asarray(np.divide(total, active, out=np.zeros(length), where=active > 0))
