# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hcat_ros.evaluation.clips import Clip
from hcat_ros.models import load_model
from hcat_ros.quantization.examples import crops_along_tracks

CARD = load_model('hcat_base').card


@pytest.fixture
def jump(tmp_path: Path) -> Clip:
    """A red square that jumps 20 px to the right and is hidden in the frame in between."""
    boxes = np.array([[100, 90, 32, 32], [np.nan] * 4, [120, 90, 32, 32]], np.float32)
    paths = []
    for number, box in enumerate(boxes):
        image = np.full((240, 320, 3), 60, np.uint8)
        if np.isfinite(box).all():
            x, y, w, h = box.astype(int)
            image[y : y + h, x : x + w] = (0, 0, 255)
        paths.append(tmp_path / f'{number}.png')
        cv2.imwrite(str(paths[-1]), image)
    return Clip('jump', paths, boxes)


def middle_of_the_red(crop: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero((crop[:, :, 0] > 200) & (crop[:, :, 2] < 100))
    return float(columns.mean()), float(rows.mean())


def test_crops_are_those_a_tracker_would_cut(jump: Clip) -> None:
    (template, search), *rest = crops_along_tracks([jump], CARD, 3)
    assert len(rest) == 2
    assert template.shape == (128, 128, 3)
    assert search.shape == (256, 256, 3)
    assert middle_of_the_red(template) == pytest.approx((63.5, 63.5), abs=1), 'in the middle'
    # The region (128 px in the frame) is centred on the last position, 20 px behind.
    assert middle_of_the_red(search) == pytest.approx((127.5 + 40, 127.5), abs=2)


def test_crops_are_spread_over_all_clips_and_reproducible_by_seed(
    jump: Clip, clips: list[Clip]
) -> None:
    crops = crops_along_tracks([jump, *clips], CARD, 6, seed=1)
    templates = {crop.template.tobytes() for crop in crops}
    assert len(templates) == 3, 'each clip twice'
    again = crops_along_tracks([jump, *clips], CARD, 6, seed=1)
    assert all((a.search == b.search).all() for a, b in zip(crops, again, strict=True))


def test_sequences_without_motion_are_refused(jump: Clip) -> None:
    photo = Clip('photo', jump.images[:1], jump.boxes[:1])
    with pytest.raises(ValueError, match='none of 1 sequences has two frames with a target'):
        crops_along_tracks([photo], CARD, 1)


def test_an_image_that_cannot_be_read_is_named(jump: Clip) -> None:
    jump.images[2].write_bytes(b'')
    with pytest.raises(ValueError, match=r'2\.png is not a readable image'):
        crops_along_tracks([jump], CARD, 1)
