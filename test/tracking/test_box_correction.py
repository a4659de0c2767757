# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcat_ros.boxes import Box, iou
from hcat_ros.engines import load_engine
from hcat_ros.models import load_model
from hcat_ros.tracking import Tracker, TrackerConfig
from hcat_ros.tracking.box_correction import (
    BoxCorrection,
    estimate_correction,
    regions_to_view,
)

NAMED = Box(100.0, 80.0, 60.0, 40.0)


@given(
    width=st.floats(0.8, 1.2),
    height=st.floats(0.8, 1.2),
    right=st.floats(-0.1, 0.1),
    down=st.floats(-0.1, 0.1),
)
def test_correction_maps_the_first_predicted_box_to_the_init_box(
    width: float, height: float, right: float, down: float
) -> None:
    seen = Box.from_center(130 + 60 * right, 100 + 40 * down, 60 * width, 40 * height)
    assert estimate_correction(NAMED, [seen]).apply(seen) == pytest.approx(NAMED, abs=1e-9)


def test_correction_scales_with_the_size_of_the_target() -> None:
    correction = estimate_correction(NAMED, [Box(100, 80, 50, 40)])  # 10 narrower, centre 5 left
    assert correction.apply(Box(0, 0, 100, 80)) == pytest.approx((0, 0, 120, 80))


def test_correction_is_the_median_over_the_views() -> None:
    tight, odd, elsewhere = Box(105, 80, 50, 40), Box(110, 85, 40, 30), Box(400, 300, 50, 40)
    found = estimate_correction(NAMED, [tight, tight, odd, elsewhere, elsewhere, elsewhere])
    assert found == pytest.approx((math.log(1.2), 0, 0, 0))


@pytest.mark.parametrize('seen', [[], [Box(400, 300, 60, 40)], [Box(100, 80, 0, 40)]])
def test_nothing_is_corrected_if_no_view_shows_the_target(seen: list[Box]) -> None:
    assert estimate_correction(NAMED, seen).apply(NAMED) == NAMED


def test_corrections_are_limited() -> None:
    found = estimate_correction(NAMED, [Box(100, 80, 30, 40)])  # the left half
    assert found == pytest.approx((0.3, 0, 0.3, 0))  # without the limits log 2 and 15/30


def test_a_share_corrects_a_part_of_the_difference() -> None:
    found = estimate_correction(NAMED, [Box(105, 80, 50, 40)], share=0.5)
    assert found == pytest.approx((math.log(1.2) / 2, 0, 0, 0))


def test_views_are_centred_on_the_init_box() -> None:
    regions = regions_to_view(NAMED)
    assert regions[0] == NAMED
    assert sum(region.cx for region in regions) / len(regions) == pytest.approx(NAMED.cx)
    assert sum(region.cy for region in regions) / len(regions) == pytest.approx(NAMED.cy)
    assert BoxCorrection().apply(NAMED) == NAMED


@pytest.mark.parametrize('grown', [(1.25, 1.25), (0.8, 1.0), (1.0, 0.8)])
def test_correction_keeps_the_track_close_to_the_drawn_box(
    picture: Callable[..., np.ndarray], grown: tuple[float, float]
) -> None:
    pytest.importorskip('onnxruntime')
    model = load_model('hcat_base')
    engine = load_engine(model, 'onnxruntime', 'fp32', threads=1)
    ground, patch = np.full((360, 640, 3), (90, 110, 100), np.uint8), picture(64, 64, 3)
    drawn = [
        Box.from_center(100.0 + 6 * number, 150.0, 64 * grown[0], 64 * grown[1])
        for number in range(20)
    ]
    frames = []
    for number in range(20):
        frame = ground.copy()
        frame[118:182, 68 + 6 * number : 132 + 6 * number] = patch
        frames.append(frame)

    def mean_iou(box_correction: float) -> float:
        settings = {**model.card.tracking, 'box_correction': box_correction}
        tracker = Tracker(engine, TrackerConfig(**settings))
        tracker.init(frames[0], drawn[0])
        found = [tracker.update(frame).box for frame in frames[1:]]
        return float(np.mean(iou(found, drawn[1:])))

    with_correction, without = mean_iou(1.0), mean_iou(0.0)
    assert with_correction > max(0.85, without + 0.05)
