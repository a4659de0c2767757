# SPDX-License-Identifier: Apache-2.0
"""Labels and losses (paper 3.4)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hcat_ros.network.hcat import NetworkOutput

CE_WEIGHT, L1_WEIGHT, GIOU_WEIGHT = 8.334, 5.0, 2.0
BACKGROUND_WEIGHT = 1 / 16
TRUSTED_IOU = 0.5
"""IoU of the teachers' box with the true box above which the teachers count as right."""


class Losses(NamedTuple):
    """The total loss, its three parts before weighting, and two figures for the log."""

    total: Tensor
    classification: Tensor
    l1: Tensor
    giou: Tensor
    iou: Tensor
    """Mean IoU between the boxes of positive cells and their goal, which is the true box or its
    blend with the teachers' box."""
    taught: Tensor
    """Share of the pairs with an object in which the teachers were right; 0 without teachers."""


def positive_cells(boxes: Tensor, grid: int) -> Tensor:
    """Return which cells are positive, (B, grid * grid) bool, for boxes (B, 4) cx cy w h in 0..1.

    Positive are the cells whose top left corner lies in the box: columns ceil(grid xmin) to
    ceil(grid xmax) - 1, rows likewise, at least one of each.
    """
    low = ((boxes[:, :2] - boxes[:, 2:] / 2) * grid).ceil().clamp(0, grid - 1)
    high = ((boxes[:, :2] + boxes[:, 2:] / 2) * grid).ceil().clamp(max=grid)
    high = torch.maximum(high, low + 1)
    cells = torch.arange(grid, device=boxes.device)
    inside = (cells >= low[..., None]) & (cells < high[..., None])  # (B, 2, grid), x then y
    return (inside[:, 1, :, None] & inside[:, 0, None, :]).flatten(1)


def box_giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU and generalised IoU (Rezatofighi et al., 2019) of boxes (..., 4) cx cy w h."""
    a_low, a_high = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2
    b_low, b_high = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2
    overlap = (torch.minimum(a_high, b_high) - torch.maximum(a_low, b_low)).clamp(0).prod(-1)
    union = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - overlap
    hull = (torch.maximum(a_high, b_high) - torch.minimum(a_low, b_low)).prod(-1)
    iou = overlap / union.clamp(min=1e-7)
    return iou, iou - (hull - union) / hull.clamp(min=1e-7)


class Taught(NamedTuple):
    """The teachers' answers for a batch of pairs, NaN where there are none."""

    scores: Tensor
    """Scores of the cells, (B, n), 0..1."""
    boxes: Tensor
    """Boxes of the best cells, (B, 4) as cx cy w h in 0..1."""


def teachers_are_right(taught: Taught, boxes: Tensor) -> Tensor:
    """Return in which samples the teachers' box has an IoU above `TRUSTED_IOU`, (B,) bool.

    boxes: the true boxes, (B, 4).
    """
    return box_giou(taught.boxes, boxes)[0] > TRUSTED_IOU  # False for NaN


def hcat_losses(
    prediction: NetworkOutput,
    boxes: Tensor,
    present: Tensor,
    iou_aware: bool = False,
    taught: Taught | None = None,
    shares: tuple[float, float] = (0.0, 0.0),
) -> Losses:
    """Return the losses of a batch.

    prediction: logits (B, n, 2), boxes (B, n, 4). boxes: the true boxes, (B, 4) as cx cy w h in
    0..1. present: (B,) bool, False if the search region does not show the template's object; all
    its cells are then background and its boxes do not count. iou_aware: whether the goal of a
    positive cell's score is the IoU of the cell's box instead of 1. taught: the teachers' answers.
    Where the teachers are right, the goals of the scores and of the box move from the truth towards
    the answers by `shares` (of scores, of boxes), 0 to 1.
    """
    logits = prediction.logits.float()
    predicted = prediction.boxes.float()
    grid = round(logits.shape[1] ** 0.5)
    right = torch.zeros_like(present)
    if taught is not None:
        right = present & teachers_are_right(taught, boxes)
        boxes = torch.where(right[:, None], boxes.lerp(taught.boxes, shares[1]), boxes)
    positive = positive_cells(boxes, grid) & present[:, None]
    iou, giou = box_giou(predicted, boxes[:, None])
    goal = positive.float()
    if iou_aware:
        goal = goal * iou.detach().clamp(0, 1)
    if taught is not None:
        known = right[:, None] & torch.isfinite(taught.scores)
        goal = torch.where(known, goal.lerp(taught.scores, shares[0]), goal)
    logs = F.log_softmax(logits, dim=2)
    entropy = -(goal * logs[..., 0] + (1 - goal) * logs[..., 1])
    weights = torch.where(positive, 1.0, BACKGROUND_WEIGHT)
    classification = (entropy * weights).sum() / weights.sum()
    # Average within each sample first, so that small targets count as much as large ones.
    counts = positive.sum(1)
    used = counts > 0
    share = positive[used] / counts[used, None]
    samples = used.sum().clamp(min=1)
    distance = (predicted - boxes[:, None]).abs().sum(-1)
    l1 = (distance[used] * share).sum() / samples
    giou_loss = ((1 - giou[used]) * share).sum() / samples
    mean_iou = (iou[used].detach() * share).sum() / samples
    total = CE_WEIGHT * classification + L1_WEIGHT * l1 + GIOU_WEIGHT * giou_loss
    parts = (classification.detach(), l1.detach(), giou_loss.detach(), mean_iou)
    return Losses(total, *parts, right.sum() / present.sum().clamp(min=1))
