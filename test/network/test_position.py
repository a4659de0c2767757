# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest

pytest.importorskip('torch', reason='needs PyTorch')

import torch

from hcat_ros.network.position import anchor_logits, sine_position


@pytest.mark.parametrize(('height', 'width', 'channels'), [(8, 8, 256), (16, 16, 256), (2, 3, 8)])
def test_the_sine_encoding_matches_the_formula(height: int, width: int, channels: int) -> None:
    half = channels // 2
    code = sine_position(height, width, channels)
    assert code.shape == (1, height * width, channels)
    for row in range(height):
        for column in range(width):
            expected = []
            for coordinate, n in ((row + 1, height), (column + 1, width)):
                scaled = coordinate / (n + 1e-6) * 2 * math.pi
                for i in range(half):
                    angle = scaled / 10000 ** (2 * (i // 2) / half)
                    expected.append(math.sin(angle) if i % 2 == 0 else math.cos(angle))
            found = code[0, row * width + column].double()
            torch.testing.assert_close(found, torch.tensor(expected).double(), atol=2e-6, rtol=0)


def test_the_anchor_box_of_a_cell_is_centred_on_the_cell() -> None:
    boxes = anchor_logits(16).sigmoid()
    assert boxes.shape == (1, 256, 4)
    for row, column in ((0, 0), (3, 11), (15, 15)):
        expected = [(column + 0.5) / 16, (row + 0.5) / 16, 0.25, 0.25]
        assert boxes[0, row * 16 + column].tolist() == pytest.approx(expected, abs=1e-6)
