# SPDX-License-Identifier: Apache-2.0
"""Detailed pictures that are generated from a seed, for use without a folder of photographs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.tracking.encodings import Image

Grey = NDArray[np.float32]


def clouds(
    rng: np.random.Generator, height: int, width: int, octaves: int = 6, keep: float = 0.6
) -> Grey:
    """Return smooth noise of all sizes, 0..1, (height, width).

    keep: amplitude of an octave relative to the next coarser octave.
    """
    field = np.zeros((height, width), np.float32)
    weight = 1.0
    for octave in range(octaves):
        cells = 3 * 2**octave
        grid = rng.random((cells, cells * width // height + 1), np.float32)
        field += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= keep
    field -= field.min()
    return np.asarray(field / field.max(), np.float32)


def coloured(field: Grey, rng: np.random.Generator, low: float, high: float, tint: float) -> Image:
    """Return a grey field in shades from `low` to `high`, BGR.

    tint: largest deviation from grey, in levels, of the colours at four points of that range.
    """
    at = np.linspace(0, 1, 4)
    stops = np.linspace(low, high, 4)[:, None] + rng.uniform(-tint, tint, (4, 3))
    bands = [np.interp(field, at, stops[:, channel]) for channel in range(3)]
    return np.asarray(np.clip(np.stack(bands, -1), 0, 255), np.uint8)


def ground(rng: np.random.Generator) -> Image:
    """Return a picture of the ground with grain, stones and patches, BGR (480, 480, 3)."""
    field = 0.6 * clouds(rng, 480, 480, 7, 1.0) + 0.4 * clouds(rng, 480, 480, 4)
    picture = coloured(np.asarray(field, np.float32), rng, 20, 210, 22)
    for _ in range(260):
        x, y = rng.integers(0, 480, 2).tolist()
        axes = (int(rng.integers(2, 9)), int(rng.integers(2, 6)))
        shade = (rng.uniform(30, 230) + rng.uniform(-15, 15, 3)).tolist()
        cv2.ellipse(picture, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, shade, cv2.FILLED)
    return picture


def panorama(rng: np.random.Generator, count: int = 6) -> list[Image]:
    """Return views with sky, hills and buildings with windows, BGR (320, 480, 3) each."""
    return [_view(rng) for _ in range(count)]


def _view(rng: np.random.Generator, height: int = 320, width: int = 480) -> Image:
    sky = clouds(rng, height, width, 4)[..., None]
    fade = np.linspace(0.6, 1.0, height, dtype=np.float32)[:, None, None]
    blue, white = np.array((235, 190, 130)), np.array((245, 240, 235))
    view: Image = np.asarray((blue + (white - blue) * sky) * fade, np.uint8)
    for depth in (0.45, 0.7):
        line = clouds(rng, width, width, 5, 0.5)[0]
        top = height * (1 - 0.5 * line * (1.2 - depth))
        hill = coloured(clouds(rng, height, width, 7, 0.85), rng, 30, 50 + 150 * depth, 25)
        below = np.arange(height)[:, None] > top[None]
        view[below] = hill[below]
    for _ in range(int(rng.integers(3, 8))):
        w, h = int(rng.integers(30, 110)), int(rng.integers(60, 220))
        x = int(rng.integers(0, width - w))
        view[height - h :, x : x + w] = board(rng, h, w)
    return view


def board(rng: np.random.Generator, height: int = 240, width: int = 320) -> Image:
    """Return a wall with windows, BGR."""
    low = float(rng.uniform(40, 130))
    wall = coloured(clouds(rng, height, width, 6, 0.8), rng, low, low + 90, 25)
    pitch = int(rng.integers(14, 26))
    gap = int(rng.integers(4, 8))
    for y in range(gap, height - gap, pitch):
        for x in range(gap, width - gap, pitch):
            shade = rng.uniform(20, 220) + rng.uniform(-20, 20, 3).clip(-20, 35)
            wall[y : y + pitch - gap, x : x + pitch - gap] = shade.clip(0, 255).astype(np.uint8)
    return wall


def target(rng: np.random.Generator, height: int = 240, width: int = 120) -> Image:
    """Return a figure with head, patterned body and legs, BGRA."""
    mask = np.zeros((height, width), np.uint8)
    skin, coat, figure = (
        coloured(clouds(rng, height, width, 6, 0.8), rng, 30, 220, 80) for _ in range(3)
    )
    # Stripes or checks make each figure distinct, like clothes.
    rows, columns = np.mgrid[:height, :width]
    period = float(rng.uniform(12, 24))
    angle = float(rng.uniform(0, np.pi))
    wave = np.sin(2 * np.pi / period * (columns * np.cos(angle) + rows * np.sin(angle)))
    if rng.random() < 0.5:
        wave *= np.sin(2 * np.pi / period * (rows * np.cos(angle) - columns * np.sin(angle)))
    coat[wave > 0.2] = rng.uniform(20, 250, 3).astype(np.uint8)
    body = _filled(mask, [(20, 55), (100, 55), (118, 140), (90, 150), (30, 150), (2, 140)])
    figure[body] = coat[body]
    mask[body] = 255
    mask[_filled(mask, [(30, 150), (58, 150), (52, 239), (22, 239)])] = 255
    mask[_filled(mask, [(62, 150), (90, 150), (98, 239), (68, 239)])] = 255
    head = np.zeros_like(mask)
    cv2.ellipse(head, (60, 30), (24, 30), 0, 0, 360, 255, cv2.FILLED)
    figure[head > 0] = skin[head > 0]
    mask[head > 0] = 255
    return np.dstack((figure, mask))


def _filled(like: Image, corners: list[tuple[int, int]]) -> NDArray[np.bool_]:
    """Return which pixels a polygon covers."""
    area = np.zeros_like(like)
    cv2.fillPoly(area, [np.array(corners, np.int32)], 255)
    return area > 0
