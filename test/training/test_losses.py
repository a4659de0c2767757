# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hcat_ros.network.hcat import NetworkOutput
from hcat_ros.training.losses import box_giou, hcat_losses, positive_cells

GRID = 16
SHARE = st.integers(0, 1024).map(lambda n: n / 1024)  # exact in float32


def cells_of(box: tuple[float, ...], grid: int) -> np.ndarray:
    """The specification's formula, cell by cell."""
    cx, cy, w, h = box
    left, right = math.ceil(grid * (cx - w / 2)), math.ceil(grid * (cx + w / 2))
    top, bottom = math.ceil(grid * (cy - h / 2)), math.ceil(grid * (cy + h / 2))
    positive = np.zeros((grid, grid), bool)
    for row in range(grid):
        for column in range(grid):
            inside_x = left <= column < right or (left >= right and column == left)
            inside_y = top <= row < bottom or (top >= bottom and row == top)
            positive[row, column] = inside_x and inside_y
    return positive


@given(SHARE, SHARE, SHARE, SHARE, st.sampled_from([16, 32]))
def test_positive_cells_match_the_specification(
    x0: float, x1: float, y0: float, y1: float, grid: int
) -> None:
    x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    box = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
    found = positive_cells(torch.tensor([box]), grid)[0].reshape(grid, grid).numpy()
    expected = cells_of(box, grid)
    if max(x0, y0) * grid <= grid - 1:
        assert (found == expected).all()
    assert found.any()  # at least one, even for a box within the last half cell


def test_positive_cells_of_known_boxes() -> None:
    boxes = torch.tensor(
        [
            [0.5, 0.5, 0.25, 0.125],  # 6..10, 7..9
            [0.53, 0.53, 0.01, 0.01],  # within one cell
            [0.5, 0.5, 0.0, 0.0],
            [1.0, 1.0, 0.0, 0.0],
            [0.5, 0.5, 2.0, 2.0],
        ]
    )
    found = positive_cells(boxes, GRID).reshape(-1, GRID, GRID)
    assert found.dtype == torch.bool
    rows = [(cells.any(1).nonzero().flatten().tolist()) for cells in found]
    columns = [(cells.any(0).nonzero().flatten().tolist()) for cells in found]
    assert columns[0] == [6, 7, 8, 9]
    assert rows[0] == [7, 8]
    assert (columns[1], rows[1]) == ([9], [9])
    assert (columns[2], rows[2]) == ([8], [8])
    assert (columns[3], rows[3]) == ([15], [15])
    assert found[4].all()


def giou_of(a: Any, b: Any) -> tuple[float, float]:
    """IoU and GIoU from corners, as their paper defines them."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    a0, a1, a2, a3 = ax - aw / 2, ay - ah / 2, ax + aw / 2, ay + ah / 2
    b0, b1, b2, b3 = bx - bw / 2, by - bh / 2, bx + bw / 2, by + bh / 2
    inter = max(0.0, min(a2, b2) - max(a0, b0)) * max(0.0, min(a3, b3) - max(a1, b1))
    union = aw * ah + bw * bh - inter
    hull = (max(a2, b2) - min(a0, b0)) * (max(a3, b3) - min(a1, b1))
    return inter / union, inter / union - (hull - union) / hull


PART = st.floats(0.05, 0.95)


@given(st.tuples(PART, PART, PART, PART), st.tuples(PART, PART, PART, PART))
def test_giou_matches_the_definition_in_its_paper(
    a: tuple[float, ...], b: tuple[float, ...]
) -> None:
    iou, giou = box_giou(torch.tensor(a), torch.tensor(b))
    assert (iou.item(), giou.item()) == pytest.approx(giou_of(a, b), abs=1e-4)


def test_giou_of_known_boxes() -> None:
    a = torch.tensor([0.25, 0.25, 0.5, 0.5])
    b = torch.tensor([[0.25, 0.25, 0.5, 0.5], [0.75, 0.25, 0.5, 0.5], [0.75, 0.75, 0.5, 0.5]])
    iou, giou = box_giou(a, b)
    assert iou.tolist() == pytest.approx([1, 0, 0])
    assert giou.tolist() == pytest.approx([1, 0, -0.5])


def sample(batch: int = 3, seed: int = 0) -> tuple[NetworkOutput, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, GRID**2, 2, generator=generator)
    boxes = torch.rand(batch, GRID**2, 4, generator=generator)
    truth = torch.rand(batch, 4, generator=generator) * 0.4 + 0.2
    return NetworkOutput(logits.requires_grad_(), boxes.requires_grad_()), truth


@pytest.mark.parametrize('present', [[True, True, True], [True, False, True], [False] * 3])
def test_classification_loss_is_torchs_weighted_cross_entropy(present: list[bool]) -> None:
    prediction, truth = sample()
    shown = torch.tensor(present)
    labels = (~(positive_cells(truth, GRID) & shown[:, None])).long()  # 0 is the target
    expected = F.cross_entropy(
        prediction.logits.transpose(1, 2), labels, weight=torch.tensor([1, 1 / 16])
    )
    found = hcat_losses(prediction, truth, shown)
    assert found.classification.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_total_has_the_papers_weights() -> None:
    prediction, truth = sample()
    for iou_aware in (False, True):
        losses = hcat_losses(prediction, truth, torch.tensor([True, True, False]), iou_aware)
        expected = 8.334 * losses.classification + 5 * losses.l1 + 2 * losses.giou
        assert losses.total.item() == pytest.approx(expected.item(), rel=1e-6)
        assert losses.total.requires_grad
        assert not any(part.requires_grad for part in losses[1:])


def test_box_losses_are_means_over_the_positive_cells() -> None:
    prediction, truth = sample()
    losses = hcat_losses(prediction, truth, torch.ones(3, dtype=torch.bool))
    l1, giou, iou = [], [], []
    for boxes, box in zip(prediction.boxes.detach(), truth):
        chosen = boxes[torch.from_numpy(cells_of(box.tolist(), GRID).ravel())]
        l1.append((chosen - box).abs().sum(1).mean().item())
        pairs = [giou_of(found.tolist(), box.tolist()) for found in chosen]
        iou.append(np.mean([pair[0] for pair in pairs]))
        giou.append(np.mean([1 - pair[1] for pair in pairs]))
    assert losses.l1.item() == pytest.approx(np.mean(l1), rel=1e-4)
    assert losses.giou.item() == pytest.approx(np.mean(giou), rel=1e-4)
    assert losses.iou.item() == pytest.approx(np.mean(iou), rel=1e-4)


def test_small_and_large_targets_have_equal_weight() -> None:
    truth = torch.tensor([[0.5, 0.5, 0.9, 0.9], [0.53, 0.53, 0.03, 0.03]])
    prediction, _ = sample(2)
    right = truth[:, None].expand(2, GRID**2, 4)
    both = torch.ones(2, dtype=torch.bool)
    for wrong in range(2):
        boxes = right.clone()
        boxes[wrong, :, 0] += 0.1
        losses = hcat_losses(NetworkOutput(prediction.logits, boxes), truth, both)
        assert losses.l1.item() == pytest.approx(0.05, rel=1e-4)


def test_samples_without_the_object_have_no_box_loss() -> None:
    prediction, truth = sample()
    one = hcat_losses(prediction, truth, torch.tensor([True, False, False]))
    alone = NetworkOutput(prediction.logits[:1], prediction.boxes[:1])
    same = hcat_losses(alone, truth[:1], torch.tensor([True]))
    assert one.l1.item() == pytest.approx(same.l1.item(), rel=1e-6)
    assert one.giou.item() == pytest.approx(same.giou.item(), rel=1e-6)
    one.total.backward()
    assert prediction.boxes.grad is not None
    assert (prediction.boxes.grad[1:] == 0).all()
    assert (prediction.boxes.grad[0] != 0).any()
    assert prediction.logits.grad is not None
    assert (prediction.logits.grad != 0).all()

    none = hcat_losses(prediction, truth, torch.zeros(3, dtype=torch.bool))
    assert none.l1 == none.giou == none.iou == 0
    assert math.isfinite(none.total.item())


def perfect(truth: torch.Tensor) -> NetworkOutput:
    positive = positive_cells(truth, GRID)
    logits = torch.stack([positive.float(), 1 - positive.float()], dim=2) * 40 - 20
    return NetworkOutput(logits, truth[:, None].expand(-1, GRID**2, 4))


@pytest.mark.parametrize('iou_aware', [False, True])
def test_a_perfect_prediction_costs_nothing(iou_aware: bool) -> None:
    _, truth = sample()
    losses = hcat_losses(perfect(truth), truth, torch.ones(3, dtype=torch.bool), iou_aware)
    assert max(losses[:4]).item() < 1e-4
    assert losses.iou.item() == pytest.approx(1, abs=1e-5)


def test_the_iou_aware_loss_is_lowest_if_the_score_equals_the_iou() -> None:
    truth = torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    boxes = truth[:, None].repeat(1, GRID**2, 1)
    boxes[..., 2] = 0.25  # IoU 0.5
    present = torch.ones(1, dtype=torch.bool)
    positive = positive_cells(truth, GRID)[..., None]

    def loss(score: float) -> float:
        odds = math.log(score / (1 - score))
        logits = torch.where(positive, torch.tensor([odds, 0.0]), torch.tensor([-30.0, 0.0]))
        return hcat_losses(NetworkOutput(logits, boxes), truth, present, True).classification.item()

    found = {score: loss(score) for score in (0.3, 0.4, 0.5, 0.6, 0.7)}
    assert min(found, key=found.__getitem__) == 0.5


@pytest.mark.parametrize('iou_aware', [False, True])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_gradients_are_finite_for_extreme_predictions(iou_aware: bool, dtype: torch.dtype) -> None:
    truth = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    for value in (0.0, 1.0, 0.5):
        boxes = torch.full((3, GRID**2, 4), value, dtype=dtype, requires_grad=True)
        logits = torch.full((3, GRID**2, 2), 80.0, dtype=dtype)
        logits[..., 1] = -80
        logits.requires_grad_()
        present = torch.ones(3, dtype=torch.bool)
        losses = hcat_losses(NetworkOutput(logits, boxes), truth, present, iou_aware)
        losses.total.backward()
        assert all(torch.isfinite(part) for part in losses)
        assert losses.total.dtype == torch.float32
        for tensor in (boxes, logits):
            assert tensor.grad is not None
            assert torch.isfinite(tensor.grad).all()
