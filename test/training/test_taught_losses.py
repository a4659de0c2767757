# SPDX-License-Identifier: Apache-2.0
"""Losses with the predictions of teachers as part of the goal."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from torch import Tensor
from torch.nn import functional as F

from hcat_ros.network.hcat import NetworkOutput
from hcat_ros.training.losses import Losses, Taught, hcat_losses, positive_cells, teachers_are_right

GRID = 16
TRUTH = torch.tensor([0.5, 0.5, 0.25, 0.25])
EVERYWHERE = torch.ones(1, dtype=torch.bool)


def moved(dx: float) -> Tensor:
    """The true box, moved right by the share dx of its width: IoU (1 - dx) / (1 + dx)."""
    return TRUTH + torch.tensor([dx * 0.25, 0, 0, 0])


def test_teachers_are_right_if_their_box_has_an_iou_above_one_half() -> None:
    # A shift of 1 / 3 of the width means IoU 1 / 2.
    cases = {0.0: True, 0.32: True, 0.35: False, 0.9: False, 1.5: False}
    boxes = torch.stack([*map(moved, cases), torch.full((4,), math.nan)])
    found = teachers_are_right(Taught(torch.zeros(6, GRID**2), boxes), TRUTH.expand(6, 4))
    assert found.tolist() == [*cases.values(), False]


def sample(batch: int) -> tuple[NetworkOutput, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, GRID**2, 2, generator=drawn).requires_grad_()
    boxes = torch.rand(batch, GRID**2, 4, generator=drawn).requires_grad_()
    return NetworkOutput(logits, boxes), torch.rand(batch, GRID**2, generator=drawn)


def asked(prediction: NetworkOutput, goal: Tensor, positive: Tensor) -> float:
    """Cross-entropy of the scores against a goal (B, n), background weighted by 1 / 16."""
    probability = prediction.logits.softmax(2)[..., 0]
    entropy = F.binary_cross_entropy(probability, goal, reduction='none')
    weights = torch.where(positive, 1.0, 1 / 16)
    return ((entropy * weights).sum() / weights.sum()).item()


def test_teacher_scores_are_mixed_in_only_if_the_teachers_are_right() -> None:
    prediction, scores = sample(5)
    scores[1, :40] = math.nan  # cells without a teacher score
    boxes = torch.stack([TRUTH, TRUTH, moved(0.5), TRUTH, torch.full((4,), math.nan)])
    present = torch.tensor([True, True, True, False, True])
    found = hcat_losses(
        prediction, TRUTH.expand(5, 4), present, taught=Taught(scores, boxes), shares=(0.25, 0.0)
    )
    positive = torch.zeros(5, GRID, GRID, dtype=torch.bool)
    positive[present, 6:10, 6:10] = True  # 0.375 to 0.625
    positive = positive.flatten(1)
    goal = positive.float()
    goal[0] = 0.75 * goal[0] + 0.25 * scores[0]
    goal[1, 40:] = 0.75 * goal[1, 40:] + 0.25 * scores[1, 40:]
    assert found.classification.item() == pytest.approx(asked(prediction, goal, positive), rel=1e-5)
    assert found.taught.item() == pytest.approx(2 / 4)  # share of the pairs with an object
    plain = hcat_losses(prediction, TRUTH.expand(5, 4), present)
    for name in ('l1', 'giou', 'iou'):
        assert torch.equal(getattr(found, name), getattr(plain, name))
    assert plain.taught == 0
    found.total.backward()
    for tensor in prediction:
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()


def losses_of(box: Tensor, share: float, iou_aware: bool = False, score: float = 0.0) -> Losses:
    """Losses with a given box and constant score of the teachers, for a network with true boxes."""
    boxes = TRUTH.expand(1, GRID**2, 4)
    taught = Taught(torch.full((1, GRID**2), score), box[None])
    prediction = NetworkOutput(sample(1)[0].logits, boxes)
    return hcat_losses(prediction, TRUTH[None], EVERYWHERE, iou_aware, taught, (0.5, share))


def test_the_goal_box_moves_from_the_truth_to_the_teachers_by_the_share() -> None:
    for share in (0.0, 0.5, 1.0):
        found = losses_of(moved(0.3), share)
        assert found.l1.item() == pytest.approx(share * 0.3 * 0.25, abs=1e-6)
        apart = share * 0.3
        assert found.iou.item() == pytest.approx((1 - apart) / (1 + apart), abs=1e-5)
        assert found.taught == 1
    wrong = losses_of(moved(0.4), 1.0)
    assert wrong.l1 == wrong.taught == 0


@pytest.mark.parametrize('iou_aware', [False, True])
def test_positive_cells_are_those_of_the_goal_box(iou_aware: bool) -> None:
    """The goal is 1.2 cells to the right: columns 8 to 11 instead of 6 to 9."""
    box = moved(0.3)
    prediction = NetworkOutput(sample(1)[0].logits, TRUTH.expand(1, GRID**2, 4))
    found = losses_of(box, 1.0, iou_aware, score=0.2)
    positive = torch.zeros(GRID, GRID, dtype=torch.bool)
    positive[6:10, 8:12] = True  # from 16 x 0.45 to 16 x 0.70, rounded up
    assert torch.equal(positive_cells(box[None], GRID)[0], positive.flatten())
    reached = 0.7 / 1.3 if iou_aware else 1.0
    goal = positive.float().flatten()[None] * reached / 2 + 0.5 * 0.2
    expected = asked(prediction, goal, positive.flatten()[None])
    assert found.classification.item() == pytest.approx(expected, rel=1e-5)


def test_teachers_without_a_share_or_an_answer_change_nothing() -> None:
    prediction, scores = sample(2)
    truth, present = TRUTH.expand(2, 4), torch.tensor([True, True])
    plain = hcat_losses(prediction, truth, present, True)
    silent = Taught(torch.full_like(scores, math.nan), torch.full((2, 4), math.nan))
    for taught, shares in ((Taught(scores, truth), (0.0, 0.0)), (silent, (0.5, 0.5))):
        found = hcat_losses(prediction, truth, present, True, taught, shares)
        assert all(torch.equal(a, b) for a, b in zip(found[:5], plain[:5], strict=True))
