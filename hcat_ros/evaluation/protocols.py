# SPDX-License-Identifier: Apache-2.0
"""How each benchmark scores a run: which frames count, how boxes compare, what is averaged.

All protocols follow one scheme: the measures of a sequence are means over its frames, and the
measures of a run are weighted means over its sequences. A frame for which the tracker gives no box
(NaN) has overlap 0. Where toolkits differ, this module agrees with the toolkit of the published
numbers: the benchmark's own, or GOT-10k's (`got10k`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation import metrics
from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.vot import pixel_overlaps

Floats = NDArray[np.float64]


class ScoredFrames(NamedTuple):
    """The frames of a sequence that count, compared with the truth; (n,) each."""

    overlaps: Floats
    centre_errors: Floats
    """Pixels; infinite without a box."""
    normalised_errors: Floats
    """Centre errors in widths and heights of the true box; infinite without a box."""


@dataclass(frozen=True)
class SequenceScore:
    """The scores of one sequence, frame by frame.

    NaN on frames without a target (no true box, or one without extent), even where the protocol
    counts them as missed, and on the first frame where the protocol does not count it.
    """

    name: str
    overlaps: Floats
    """IoU of each frame of the result, (n,)."""
    centre_errors: Floats
    """(n,), pixels; infinite where the tracker gave no box."""
    normalised_errors: Floats
    """(n,), in widths and heights of the true box; infinite where the tracker gave no box."""
    measures: dict[str, float]
    """The protocol's measures of this sequence alone."""


@dataclass(frozen=True)
class RunScore:
    """The scores of a run over all sequences."""

    measures: dict[str, float]
    sequences: list[SequenceScore]
    success: Floats
    """(21,), success plot over `metrics.SUCCESS_THRESHOLDS`."""
    precision: Floats
    """(51,), precision plot over `metrics.PRECISION_THRESHOLDS`."""
    normalised_precision: Floats
    """(51,), normalised precision plot over `metrics.NORMALISED_THRESHOLDS`."""


def _ao(frames: ScoredFrames) -> float:
    return metrics.average_overlap(frames.overlaps)


def _sr50(frames: ScoredFrames) -> float:
    return metrics.success_rate(frames.overlaps, 0.5)


def _sr75(frames: ScoredFrames) -> float:
    return metrics.success_rate(frames.overlaps, 0.75)


def _success_auc(frames: ScoredFrames) -> float:
    return metrics.success_auc(frames.overlaps)


def _precision(frames: ScoredFrames) -> float:
    return metrics.precision(frames.centre_errors)


def _normalised(frames: ScoredFrames) -> float:
    return metrics.normalised_precision(frames.normalised_errors)


def _normalised_02(frames: ScoredFrames) -> float:
    return metrics.precision(frames.normalised_errors, 0.2)


# TrackingNet's server (metrics.py of TrackingNet-devkit) integrates by the trapezoidal rule over
# 21 thresholds; an overlap equal to a threshold passes.
def _integral(passed: NDArray[np.bool_]) -> float:
    shares = passed.mean(axis=0)
    return float((shares[:-1] + shares[1:]).mean() / 2)


def _success_integral(frames: ScoredFrames) -> float:
    return _integral(frames.overlaps[:, None] >= metrics.SUCCESS_THRESHOLDS)


def _precision_integral(frames: ScoredFrames) -> float:
    return _integral(frames.centre_errors[:, None] <= np.linspace(0, 50, 21))


def _normalised_integral(frames: ScoredFrames) -> float:
    return _integral(frames.normalised_errors[:, None] <= np.linspace(0, 0.5, 21))


Compare = Callable[[Floats, Floats, tuple[int, int]], ScoredFrames]


def _exactly(boxes: Floats, truth: Floats, _: tuple[int, int]) -> ScoredFrames:
    return ScoredFrames(
        metrics.overlaps(boxes, truth),
        metrics.centre_errors(boxes, truth),
        metrics.normalised_errors(boxes, truth),
    )


def _in_frame(boxes: Floats, truth: Floats, size: tuple[int, int]) -> ScoredFrames:
    """Compare as GOT-10k does: only the parts of the boxes inside the frame overlap."""

    def cut(boxes: Floats) -> Floats:
        # As in the toolkit: a corner that is moved into the frame does not shorten the sides.
        corner = np.clip(boxes[:, :2], 0, size)
        return np.concatenate([corner, np.clip(boxes[:, 2:], 0, size - corner)], axis=1)

    overlaps = metrics.overlaps(cut(boxes), cut(truth))
    return _exactly(boxes, truth, size)._replace(overlaps=overlaps)


def _to_whole_pixels(boxes: Floats, truth: Floats, size: tuple[int, int]) -> ScoredFrames:
    """Compare as TrackingNet's server does, which rounds boxes to whole pixels."""
    return _exactly(np.round(boxes), np.round(truth), size)


def _in_pixels(boxes: Floats, truth: Floats, size: tuple[int, int]) -> ScoredFrames:
    """Compare as VOT does: overlap in pixels of the frame; NaN where the tracker gave no box."""
    overlaps = pixel_overlaps(boxes, truth, size)
    overlaps[np.isnan(boxes).any(axis=1)] = np.nan
    return _exactly(boxes, truth, size)._replace(overlaps=overlaps)


@dataclass(frozen=True)
class Protocol:
    """The scoring rules of a benchmark."""

    name: str
    """A layout of `clips.LAYOUTS`."""
    title: str
    formulas: Mapping[str, Callable[[ScoredFrames], float]]
    first: bool = False
    """Whether the first frame counts. Its box is set to the true box, so it is a hit."""
    absent: Literal['left out', 'missed'] = 'left out'
    """Treatment of frames without a target."""
    weight: Literal['sequence', 'counted', 'length'] = 'sequence'
    """Weight of a sequence in a run: 1; the number of its frames that count, which pools the frames
    of all sequences; or the number of all its frames."""
    compare: Compare = _exactly

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures, the most important one first."""
        return tuple(self.formulas)


_OTB = {'success AUC': _success_auc, 'precision': _precision, 'SR 0.5': _sr50}
_ALL = {
    'AO': _ao,
    'success AUC': _success_auc,
    'precision': _precision,
    'normalised precision': _normalised,
    'SR 0.5': _sr50,
    'SR 0.75': _sr75,
}
_LASOT = {
    'success AUC': _success_auc,
    'normalised precision 0.2': _normalised_02,
    'precision': _precision,
    'normalised precision': _normalised,
}
_TRACKINGNET = {
    'success AUC': _success_integral,
    'normalised precision': _normalised_integral,
    'precision AUC': _precision_integral,
}

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol('otb', 'OTB', _OTB, first=True),
        Protocol('uav123', 'UAV123', _OTB, first=True),
        Protocol('uav123_10fps', 'UAV123 10 fps', _OTB, first=True),
        Protocol('uav20l', 'UAV20L', _OTB, first=True),
        Protocol('nfs', 'NfS', _OTB, first=True),
        Protocol('nfs_30fps', 'NfS 30 fps', _OTB, first=True),
        # LaSOT's toolkit counts frames without a target as misses, so the best possible score of
        # a sequence with such frames is below 1.
        Protocol('lasot', 'LaSOT', _LASOT, first=True, absent='missed'),
        Protocol(
            'got10k',
            'GOT-10k',
            {'AO': _ao, 'SR 0.5': _sr50, 'SR 0.75': _sr75},
            weight='counted',
            compare=_in_frame,
        ),
        Protocol('trackingnet', 'TrackingNet', _TRACKINGNET, first=True, compare=_to_whole_pixels),
        # One pass without restarts, the toolkit's 'unsupervised' experiment; see vot.py.
        Protocol('vot', 'VOT, one pass', {'AO': _ao}, weight='length', compare=_in_pixels),
        Protocol('masks', 'DAVIS, boxes', _ALL),
        Protocol('plain', 'one pass', _ALL),
    )
}
"""Protocols by the name of a layout of `clips.LAYOUTS`; 'plain' and 'masks' are this package's
own."""


def score_sequence(
    protocol: Protocol, clip: Clip, result: SequenceResult, size: tuple[int, int]
) -> SequenceScore:
    """Score a tracker's result for a clip with frames of `size` (width, height).

    Raises ValueError, naming the clip, if no frame after the first has a true box, or if the
    number of boxes is not that of the clip's frames from its first visible frame on.
    """
    return _score(protocol, clip, result, size)[0]


def score_run(
    protocol: Protocol,
    clips: Sequence[Clip],
    results: Sequence[SequenceResult],
    sizes: Sequence[tuple[int, int]],
) -> RunScore:
    """Score the results for clips with frames of `sizes` (width, height), one each.

    Raises ValueError as `score_sequence`, and for lists that are empty or differ in length.
    """
    if not len(clips) == len(results) == len(sizes) or not clips:
        raise ValueError(f'{len(clips)} clips, {len(results)} results, {len(sizes)} sizes')
    scored = [_score(protocol, *each) for each in zip(clips, results, sizes)]
    sequences = [sequence for sequence, _ in scored]
    weights = [
        {'sequence': 1, 'counted': len(frames.overlaps), 'length': len(sequence.overlaps)}[
            protocol.weight
        ]
        for sequence, frames in scored
    ]

    def mean(values: Sequence[float] | Sequence[Floats]) -> Floats:
        return np.asarray(np.average(np.array(values), axis=0, weights=weights))

    frames = [frames for _, frames in scored]
    return RunScore(
        {
            name: float(mean([sequence.measures[name] for sequence in sequences]))
            for name in protocol.measures
        },
        sequences,
        mean([metrics.success_curve(each.overlaps) for each in frames]),
        mean([metrics.precision_curve(each.centre_errors) for each in frames]),
        mean([metrics.normalised_precision_curve(each.normalised_errors) for each in frames]),
    )


def _score(
    protocol: Protocol, clip: Clip, result: SequenceResult, size: tuple[int, int]
) -> tuple[SequenceScore, ScoredFrames]:
    """Return the score of a sequence, and its frames that count."""
    truth = np.asarray(clip.boxes, np.float64)[clip.visible[0] :]
    boxes = np.array(result.boxes, np.float64)
    if boxes.shape != truth.shape:
        raise ValueError(
            f'{clip.name}: a result of {len(boxes)} boxes for {len(truth)} frames from the first '
            'visible one on; run the sequence again'
        )
    # Readers give NaN for an absent target. A frame whose true box has no size counts, with overlap
    # 0: OTB has a few such boxes, and VOT uses them for absent targets.
    present = np.asarray(np.isfinite(truth).all(axis=1))
    if not present[1:].any():
        raise ValueError(
            f'{clip.name}: no true box after the first one. The truth of a test split is not '
            'public: write a submission for its server (--submission)'
        )
    boxes[0] = truth[0]
    compared = ScoredFrames(
        *(
            np.where(present & ~np.isnan(values), values, none)
            for values, none in zip(protocol.compare(boxes, truth, size), (0.0, np.inf, np.inf))
        )
    )
    counts = present.copy()
    counts[0] = protocol.first
    with np.errstate(invalid='ignore'):
        seen = counts & (truth[:, 2:] > 0).all(axis=1)
    shown = ScoredFrames(*(np.where(seen, values, np.nan) for values in compared))
    if protocol.absent == 'missed':
        counts = counts | ~present
    frames = ScoredFrames(*(values[counts] for values in compared))
    measures = {name: formula(frames) for name, formula in protocol.formulas.items()}
    return SequenceScore(clip.name, **shown._asdict(), measures=measures), frames
