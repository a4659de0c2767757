# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from hcat_ros.simulation.camera import Pinhole, Pose
from hcat_ros.simulation.world import SCALE, Ground, Panorama, strip

LENS = Pinhole(320, 240, math.radians(70))
POSES = (
    Pose(0, 0, 1.0, 0, 0),
    Pose(0, 0, 1.0, 0.4, 0),
    Pose(3, -7, 2.5, -2.9, 0.3),
    Pose(-9, 5, 0.6, 1.7, -0.3),
)
Picture = Callable[[int, int, int], np.ndarray]


def rays(pose: Pose) -> np.ndarray:
    """Return the direction of each pixel in the world, (H, W, 3)."""
    u, v = np.meshgrid(np.arange(LENS.width), np.arange(LENS.height))
    pixels = np.stack((u, v, np.ones_like(u)), -1).astype(np.float64)
    return pixels @ np.linalg.inv(LENS.projection(pose)).T


def smooth(picture: np.ndarray) -> np.ndarray:
    """Remove edges, where half a pixel would make a large difference."""
    return cv2.GaussianBlur(picture, (0, 0), 6)


@pytest.mark.parametrize('pose', POSES)
@pytest.mark.parametrize('below', [True, False])
def test_the_panorama_matches_ray_casting(picture: Picture, pose: Pose, below: bool) -> None:
    photos = [smooth(picture(320, 480, seed)) for seed in range(6)]
    frame = np.zeros((240, 320, 3), np.uint8)
    Panorama(photos, below).draw(frame, pose, LENS)

    around = strip(photos)
    direction = rays(pose)
    azimuth = np.arctan2(direction[..., 1], direction[..., 0])
    slope = direction[..., 2] / np.hypot(direction[..., 0], direction[..., 1])
    columns = np.mod(-azimuth * SCALE, around.shape[1]).astype(np.float32)
    horizon = around.shape[0] / 2 if below else around.shape[0] - 3
    rows = (horizon - slope * SCALE).astype(np.float32)
    wide = np.hstack((around, around[:, :2]))
    expected = cv2.remap(wide, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    there = np.full((240, 320), True) if below else direction[..., 2] > 0.01
    error = np.abs(frame.astype(int) - expected)[there]
    assert np.percentile(error, 99) <= 3
    assert frame[there].std() > 5


def test_the_panorama_has_no_gap_all_around(picture: Picture) -> None:
    # Enlarging overshoots at edges, so black lies well below.
    panorama = Panorama([np.maximum(picture(320, 480, 1), 120)], below=True)
    for yaw in np.linspace(-math.pi, math.pi, 33):
        for pitch in (-0.7, 0.0, 0.9):
            frame = np.zeros((240, 320, 3), np.uint8)
            panorama.draw(frame, Pose(0, 0, 1, float(yaw), pitch), LENS)
            assert frame.min() > 0, (yaw, pitch)


def test_a_strip_has_no_seam(picture: Picture) -> None:
    photos = [np.full((32, 48, 3), shade, np.uint8) for shade in (20, 220, 90)]
    for some in (photos, photos[:1]):
        around = strip(some).astype(int)
        closed = np.hstack((around, around[:, :1]))
        assert np.abs(np.diff(closed, axis=1)).max() <= 4
        assert around.shape[1] == round(2 * math.pi * SCALE)


@pytest.mark.parametrize('pose', POSES)
def test_the_ground_matches_ray_casting(pose: Pose) -> None:
    # Brightness encodes the position: a triangle wave in x, another in y.
    ramp = np.arange(256, dtype=np.uint8)
    photo = np.dstack(
        (np.tile(ramp, (256, 1)), np.tile(ramp[:, None], (1, 256)), np.zeros((256, 256)))
    )
    frame = np.zeros((240, 320, 3), np.uint8)
    Ground(photo.astype(np.uint8), 8.0).draw(frame, pose, LENS)

    direction = rays(pose)
    down = direction[..., 2] < -0.02
    scale = -pose.z / np.minimum(direction[..., 2], -0.02)
    for channel, start in ((0, pose.x), (1, pose.y)):
        place = start + direction[..., channel] * scale
        # 0 at 0 m, 255 at 8 m, and back.
        expected = 255 - np.abs(np.mod(place, 16.0) - 8.0) / 8.0 * 255
        near = down & (scale * np.linalg.norm(direction, axis=-1) < 20)
        error = np.abs(frame[..., channel] - expected)[near]
        assert near.sum() > 500
        assert np.percentile(error, 97) < 6
    above = direction[..., 2] > 0
    assert (frame[above] == 0).all(), 'nothing is drawn above the horizon'


def test_distant_ground_is_smooth_and_near_ground_is_detailed(picture: Picture) -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    Ground(picture(256, 256, 3), 4.0).draw(frame, Pose(0, 0, 1.0, 0.3, 0), LENS)
    assert frame[123:128].std((0, 1)).max() < 25
    assert frame[180:].std((0, 1)).max() > 40


def test_a_camera_that_looks_up_sees_no_ground(picture: Picture) -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    Ground(picture(64, 64, 3), 4.0).draw(frame, Pose(0, 0, 1.0, 0.3, 1.0), LENS)
    assert not frame.any()
