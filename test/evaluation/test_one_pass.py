# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hcat_ros.engines import EngineCard, Prediction
from hcat_ros.evaluation.one_pass import measures, one_pass
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.tracking import Tracker, TrackerConfig


class StillEngine:
    """Finds the target in the middle of every search region, at its own size."""

    card = EngineCard('still', 'double', '1', 'fp32', 128, 256, 16)

    def template(self, crop: np.ndarray) -> int:
        return 0

    def search(self, crop: np.ndarray, features: int) -> Prediction:
        return Prediction(np.full((16, 16), 0.7), np.tile([0.5, 0.5, 0.25, 0.25], (256, 1)))


def test_one_pass_of_a_still_tracker_on_a_still_target() -> None:
    tracker = Tracker(StillEngine(), TrackerConfig(size_smoothing=1e-6))
    frames = [np.zeros((100, 120, 3), np.uint8)] * 5
    answers = one_pass(tracker, frames, (40, 30, 24, 24))
    assert answers.boxes.shape == (5, 4)
    assert answers.boxes[0].tolist() == [40, 30, 24, 24], 'the box that it was given'
    assert np.isnan(answers.scores[0])
    assert answers.scores[1:].tolist() == [0.7] * 4
    assert not answers.lost.any()
    assert (answers.seconds > 0).all()
    truth = np.tile([40.0, 30, 24, 24], (5, 1))
    truth[2] = np.nan
    found = measures(answers, truth)
    assert found.ao == pytest.approx(1, abs=1e-4)
    assert found.precision == 1
    assert np.isnan(found.overlaps[1])


def test_truth_of_another_length_is_refused() -> None:
    answers = SequenceResult(np.zeros((4, 4)), np.zeros(4), np.zeros(4, bool), np.zeros(4))
    with pytest.raises(ValueError, match='4 answers but truth for 3 frames'):
        measures(answers, np.zeros((3, 4)))
