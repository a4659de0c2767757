# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from hcat_ros.simulation.billboard import Billboard, blurred, compose
from hcat_ros.simulation.camera import Pinhole, Pose

LENS = Pinhole(640, 480, math.radians(70))
LEVEL = Pose(0.0, 0.0, 1.0, 0.0, 0.0)
Picture = Callable[[int, int, int], np.ndarray]


@pytest.fixture
def cutout(picture: Picture) -> np.ndarray:
    return np.dstack((picture(200, 100, 1), np.full((200, 100), 255, np.uint8)))


@pytest.mark.parametrize('distance', [2.0, 5.0, 20.0, 60.0])
def test_size_in_the_image_is_inversely_proportional_to_distance(
    cutout: np.ndarray, distance: float
) -> None:
    layer = Billboard(cutout, 2.0).layer(np.array((distance, 0.0, 0.0)), LEVEL, LENS)
    assert layer is not None
    assert layer.box.h == pytest.approx(LENS.focal * 2.0 / distance)
    assert layer.box.w == pytest.approx(LENS.focal * 1.0 / distance)
    assert (layer.box.cx, layer.box.cy) == pytest.approx((320, 240))
    assert layer.full_area == pytest.approx(layer.box.w * layer.box.h, rel=1e-4)


@pytest.mark.parametrize('azimuth', [-0.4, 0.0, 0.3])
@pytest.mark.parametrize('pitch', [-0.2, 0.0, 0.3])
def test_the_box_fits_the_drawn_pixels(cutout: np.ndarray, azimuth: float, pitch: float) -> None:
    foot = np.array((6 * math.cos(azimuth), 6 * math.sin(azimuth), 0.4))
    pose = LEVEL._replace(pitch=pitch)
    layer = Billboard(cutout, 1.2).layer(foot, pose, LENS)
    assert layer is not None
    frame = np.zeros((480, 640, 3), np.uint8)
    compose(frame, layer)
    solid = layer.pixels[..., 3] >= 128
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    box = layer.box
    assert layer.x + columns[0] == pytest.approx(box.x, abs=1)
    assert layer.x + columns[-1] + 1 == pytest.approx(box.x + box.w, abs=1)
    assert layer.y + rows[0] == pytest.approx(box.y, abs=1)
    assert layer.y + rows[-1] + 1 == pytest.approx(box.y + box.h, abs=1)
    assert solid.sum() == pytest.approx(layer.full_area, rel=0.03)


def test_a_board_behind_beside_or_too_near_is_not_drawn(cutout: np.ndarray) -> None:
    board = Billboard(cutout, 2.0)
    for foot in ((-5.0, 0, 0), (1.0, 30.0, 0), (0.1, 0, 0), (0.0, 0, 0), (5.0, 0, 40.0)):
        assert board.layer(np.array(foot), LEVEL, LENS) is None


def test_a_board_at_the_edge_of_the_frame_is_drawn_in_part(cutout: np.ndarray) -> None:
    half = 5.0 * math.tan(math.radians(35))
    layer = Billboard(cutout, 2.0).layer(np.array((5.0, half, 0.0)), LEVEL, LENS)
    assert layer is not None
    assert layer.x == 0
    assert layer.box.x < 0
    assert (layer.pixels[..., 3] >= 128).sum() == pytest.approx(layer.full_area / 2, rel=0.15)


def test_composing_covers_only_where_the_board_is_opaque() -> None:
    cutout = np.zeros((100, 100, 4), np.uint8)
    cutout[:, :50] = (10, 20, 200, 255)
    cutout[:, 50:] = (255, 255, 255, 0)
    layer = Billboard(cutout, 2.0).layer(np.array((5.0, 0.0, 0.0)), LEVEL, LENS)
    assert layer is not None
    frame = np.full((480, 640, 3), 77, np.uint8)
    compose(frame, layer)
    assert np.abs(frame[240, 280].astype(int) - (10, 20, 200)).max() <= 1
    # The white of transparent pixels does not bleed in.
    assert np.abs(frame[240, 340:].astype(int) - 77).max() <= 1
    assert frame.max() <= 200


def test_motion_blur_is_along_the_motion_and_keeps_the_brightness(cutout: np.ndarray) -> None:
    foot = np.array((5.0, 0.0, 0.0))
    still = Billboard(cutout, 2.0).layer(foot, LEVEL, LENS)
    moved = Billboard(cutout, 2.0).layer(foot, LEVEL, LENS, (20.0, 0.0))
    assert still is not None
    assert moved is not None
    assert moved.pixels.shape[1] >= still.pixels.shape[1] + 18
    # The box is that of the middle of the exposure, and has the same size.
    assert moved.box == still.box
    assert moved.pixels.sum() == pytest.approx(still.pixels.sum(), rel=0.02)


@pytest.mark.parametrize('motion', [(9.0, 0.0), (0.0, 9.0), (6.0, 7.0), (-6.0, 7.0)])
def test_a_point_becomes_a_line_of_the_motions_length(motion: tuple[float, float]) -> None:
    point = np.zeros((41, 41, 3), np.uint8)
    point[19:22, 19:22] = 255
    line = blurred(point, motion)[..., 0].astype(float)
    assert line.sum() == pytest.approx(9 * 255, rel=0.05)
    rows, columns = np.nonzero(line > line.max() / 2)
    assert abs(np.ptp(columns) - abs(motion[0])) <= 2
    assert abs(np.ptp(rows) - abs(motion[1])) <= 2
    if all(motion):
        slope = np.corrcoef(columns, rows)[0, 1]
        assert slope * motion[0] * motion[1] > 0
    # Symmetrical, since it is seen from the middle of the exposure.
    assert np.average(np.arange(41), weights=line.sum(0)) == pytest.approx(20, abs=0.1)


def test_motion_below_one_pixel_causes_no_blur(picture: Picture) -> None:
    image = picture(20, 20, 1)
    assert blurred(image, (0.6, 0.6)) is image
