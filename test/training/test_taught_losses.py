# SPDX-License-Identifier: Apache-2.0
"""Losses that ask for what teachers say."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from torch.nn import functional as F

from hcat_ros.network.hcat import Prediction
from hcat_ros.training.losses import (
    box_giou,
    feature_loss,
    hcat_losses,
    positive_cells,
    taught_goal,
)

GRID = 16


def taught_features(seed: int = 0) -> torch.Tensor:
    """(B, n, K) of channels whose means and sizes differ a lot."""
    drawn = torch.randn(3, GRID**2, 4, generator=torch.Generator().manual_seed(seed))
    return drawn * torch.tensor([0.1, 1.0, 30.0, 500.0]) + torch.tensor([7.0, 0.0, -90.0, 4.0])


def test_the_feature_loss_is_the_share_of_the_variance_that_is_not_explained() -> None:
    taught = taught_features()
    mean, deviation = taught.mean((0, 1)), taught.std((0, 1), correction=0)
    goal = (taught - mean) / deviation
    assert feature_loss(goal, taught).item() == pytest.approx(0, abs=1e-6)
    assert feature_loss(torch.zeros_like(goal), taught).item() == pytest.approx(1, abs=1e-3)
    assert feature_loss(goal / 2, taught).item() == pytest.approx(0.25, abs=1e-3)
    # Each channel counts the same.
    for channel in range(4):
        guess = goal.clone()
        guess[..., channel] = 0
        assert feature_loss(guess, taught).item() == pytest.approx(0.25, abs=1e-3)


def test_the_size_of_the_teachers_features_does_not_matter() -> None:
    taught, guess = taught_features(), torch.randn(3, GRID**2, 4)
    scale, shift = torch.tensor([9.0, 0.5, 1e3, 0.02]), torch.tensor([0.0, -3.0, 1e3, 50.0])
    expected = feature_loss(guess, taught).item()
    assert feature_loss(guess, taught * scale + shift).item() == pytest.approx(expected, rel=1e-3)


def test_a_channel_that_is_always_the_same_gives_no_nan() -> None:
    taught = taught_features()
    taught[..., 2] = 5
    guess = torch.zeros(taught.shape, dtype=torch.bfloat16, requires_grad=True)
    loss = feature_loss(guess, taught)
    assert loss.item() == pytest.approx(0.75, abs=1e-3)
    assert loss.dtype == torch.float32
    loss.backward()
    assert guess.grad is not None
    assert torch.isfinite(guess.grad).all()


def test_teachers_have_their_share_where_their_best_cell_is_right() -> None:
    nan = math.nan
    goal = torch.tensor([[0.0, 1.0, 0.8, 0.0]]).repeat(5, 1)
    positive = goal > 0
    positive[4] = False  # the object is not there
    taught = torch.tensor(
        [
            [0.2, 0.4, 0.9, 0.0],  # right
            [nan, 0.4, nan, 0.3],  # right, as far as it knows
            [0.5, 0.4, nan, 0.0],  # its best is outside
            [nan] * 4,
            [0.2, 0.4, 0.9, 0.0],
        ]
    )
    found = taught_goal(goal, positive, taught, 0.25)
    expected = goal.clone()
    expected[0] = torch.tensor([0.05, 0.85, 0.825, 0.0])
    expected[1] = torch.tensor([0.0, 0.85, 0.8, 0.075])
    torch.testing.assert_close(found, expected)
    assert torch.equal(taught_goal(goal, positive, taught, 0.0), goal)
    whole = taught_goal(goal, positive, taught, 1.0)
    assert whole[0].tolist() == pytest.approx(taught[0].tolist())


@pytest.mark.parametrize('iou_aware', [False, True])
def test_what_teachers_say_changes_the_classification_alone(iou_aware: bool) -> None:
    drawn = torch.Generator().manual_seed(0)
    logits = torch.randn(3, GRID**2, 2, generator=drawn).requires_grad_()
    boxes = torch.rand(3, GRID**2, 4, generator=drawn).requires_grad_()
    prediction = Prediction(logits, boxes)
    truth = torch.rand(3, 4, generator=drawn) * 0.4 + 0.2
    present = torch.tensor([True, True, False])
    positive = positive_cells(truth, GRID) & present[:, None]
    taught = torch.rand(positive.shape, generator=drawn) / 2
    taught[0] += positive[0] * 0.5  # of three samples the first alone has its best cell inside
    taught[1, (~positive[1]).nonzero()[0]] = 0.9
    taught[:, :GRID] = math.nan
    without = hcat_losses(prediction, truth, present, iou_aware)
    for share, known in ((0.0, taught), (0.5, torch.full_like(taught, math.nan))):
        same = hcat_losses(prediction, truth, present, iou_aware, known, share)
        assert all(torch.equal(a, b) for a, b in zip(same, without, strict=True))

    found = hcat_losses(prediction, truth, present, iou_aware, taught, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(found[2:], without[2:], strict=True))
    goal = positive.float()
    if iou_aware:
        goal *= box_giou(prediction.boxes, truth[:, None])[0]
    goal[0, GRID:] = (goal[0, GRID:] + taught[0, GRID:]) / 2
    probability = prediction.logits.softmax(2)[..., 0]
    entropy = F.binary_cross_entropy(probability, goal.detach(), reduction='none')
    weights = torch.where(positive, 1.0, 1 / 16)
    expected = (entropy * weights).sum() / weights.sum()
    assert found.classification.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found.classification.item() != pytest.approx(without.classification.item(), rel=1e-3)
    found.total.backward()
    for tensor in prediction:
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
