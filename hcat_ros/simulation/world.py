# SPDX-License-Identifier: Apache-2.0
"""The surroundings: a panorama at infinity and a ground plane, both drawn with homographies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.simulation.camera import Matrix, Pinhole, Pose
from hcat_ros.tracking.encodings import Image

FACETS = 8
"""Number of flat pictures that approximate the cylinder of the panorama."""
SCALE = 458.0
"""Pixels of the panorama per radian, such that six photographs of 480 pixels fill the circle."""
FEATHER = 48
"""Half width of the blend between neighbouring photographs, pixels."""
HIGHEST = math.radians(70)
"""Highest elevation of the panorama, rad."""
_WARP = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


@dataclass(frozen=True)
class _Facet:
    picture: Image
    azimuth: float
    to_world: Matrix
    """Matrix from pixels of the picture to directions in the world, (3, 3)."""


def strip(photos: Sequence[Image]) -> Image:
    """Return photographs side by side around 360 degrees, blended at the seams, BGR.

    Photographs that do not fill the circle are repeated and mirrored.
    """
    around = round(2 * math.pi * SCALE)
    height = round(SCALE * 0.7)
    scaled: list[Image] = []
    total = 0
    while total < around:
        photo = photos[len(scaled) % len(photos)]
        width = min(around, round(photo.shape[1] * height / photo.shape[0]))
        area = cv2.INTER_AREA if height < photo.shape[0] else cv2.INTER_CUBIC
        photo = np.asarray(cv2.resize(photo, (width, height), interpolation=area), np.uint8)
        if len(scaled) // len(photos) % 2:
            photo = photo[:, ::-1]
        scaled.append(photo)
        total += width
    colours = np.zeros((height, around, 3), np.float32)
    weights = np.zeros((1, around, 1), np.float32)
    at = 0
    for photo in scaled:
        width = round(photo.shape[1] * around / total)
        photo = np.asarray(cv2.resize(photo, (width, height)), np.uint8)
        wide = cv2.copyMakeBorder(photo, 0, 0, FEATHER, FEATHER, cv2.BORDER_REFLECT)
        ramp = np.minimum(np.arange(1, width + 2 * FEATHER + 1), 2 * FEATHER) / (2.0 * FEATHER)
        weight = np.minimum(ramp, ramp[::-1]).astype(np.float32)[:, None]
        columns = (at - FEATHER + np.arange(len(weight))) % around
        # A single photograph overlaps itself. Adding it in two halves ensures that no column occurs
        # twice in one addition.
        for part in np.array_split(np.arange(len(weight)), 2):
            colours[:, columns[part]] += wide[:, part] * weight[part]
            weights[:, columns[part]] += weight[part]
        at += width
    return np.asarray(colours / weights, np.uint8)


class Panorama:
    """An infinitely distant background: photographs on a cylinder, cut into flat facets.

    below: whether the panorama continues below the horizon, which is then at the middle of the
    photographs; otherwise the photographs stand on the horizon.
    """

    def __init__(self, photos: Sequence[Image], below: bool) -> None:
        picture = strip(photos)
        self._zenith = picture[:4].mean((0, 1)).tolist()
        """Colour above the facets."""
        self._horizon = picture.shape[0] / 2 if below else picture.shape[0] - 3.0
        self._facets = [self._facet(picture, number, below) for number in range(FACETS)]

    def _facet(self, picture: Image, number: int, below: bool) -> _Facet:
        azimuth = 2 * math.pi * number / FACETS
        # Each facet is a little wider than its share, so that no gap appears between two facets.
        half = math.ceil(SCALE * math.tan(math.pi / FACETS)) + 2
        top = math.ceil(SCALE * math.tan(HIGHEST))
        bottom = top if below else 8
        left = (half - np.arange(2 * half + 1)) / SCALE
        up = (top - np.arange(top + bottom + 1))[:, None] / SCALE
        angle = np.arctan(left)
        columns = -(azimuth + angle) * SCALE
        around = picture.shape[1]
        # The strip is padded, so that a facet never crosses its ends.
        pad = half + 2
        start = math.floor(-azimuth * SCALE) % around
        rolled = np.take(picture, (np.arange(2 * pad) + start - pad) % around, axis=1)
        map_x = np.broadcast_to(
            columns - math.floor(-azimuth * SCALE) + pad, (len(up), len(left))
        ).astype(np.float32)
        map_y = (self._horizon - up * np.cos(angle) * SCALE).astype(np.float32)
        drawn = cv2.remap(rolled, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        cos, sin = math.cos(azimuth), math.sin(azimuth)
        axes = np.array(((cos, -sin, 0.0), (sin, cos, 0.0), (0.0, 0.0, 1.0)))
        # This matrix maps (column, row, 1) to SCALE * (forward, left, up).
        pixels = np.array(((0.0, 0.0, SCALE), (-1.0, 0.0, half), (0.0, -1.0, top)))
        return _Facet(np.asarray(drawn, np.uint8), azimuth, axes @ pixels)

    def draw(self, frame: Image, pose: Pose, lens: Pinhole) -> None:
        """Fill the frame, which begins at row 0 of the camera's picture, in place."""
        frame[:] = self._zenith
        height, width = frame.shape[:2]
        seen = lens.projection(pose)
        corners = np.array([(u, v, 1) for u in (0, width - 1) for v in (0, lens.height - 1)])
        rays = np.linalg.solve(seen, corners.T)
        cos, sin = math.cos(pose.yaw), math.sin(pose.yaw)
        ahead, left = rays[0] * cos + rays[1] * sin, rays[1] * cos - rays[0] * sin
        reach = float(np.abs(np.arctan2(left, ahead)).max()) + math.pi / FACETS + 0.02
        for facet in self._facets:
            if abs(math.remainder(facet.azimuth - pose.yaw, 2 * math.pi)) > reach:
                continue
            to_frame = seen @ facet.to_world
            rows, columns = facet.picture.shape[:2]
            ends = (
                to_frame @ np.array([(x, y, 1) for x in (0, columns - 1) for y in (0, rows - 1)]).T
            )
            if ends[2].min() > 0:
                u = ends[0] / ends[2]
                first, last = max(0, math.floor(u.min())), min(width, math.ceil(u.max()) + 1)
            else:
                first, last = 0, width
            if last <= first:
                continue
            shift = np.array(((1.0, 0, first), (0, 1.0, 0), (0, 0, 1.0)))
            part = frame[:, first:last]
            cv2.warpPerspective(
                facet.picture,
                np.linalg.inv(to_frame) @ shift,
                (part.shape[1], height),
                dst=part,
                flags=_WARP,
                borderMode=cv2.BORDER_TRANSPARENT,
            )


class Ground:
    """An endless plane at z = 0 that is covered with mirrored tiles of a photograph.

    metres: length of the longer side of a tile.
    """

    def __init__(self, photo: Image, metres: float) -> None:
        half = np.hstack((photo, photo[:, ::-1]))
        level = np.vstack((half, half[::-1]))
        # Sides are powers of two, so that all levels cover the same ground.
        sides = [2 ** round(math.log2(side)) for side in level.shape[1::-1]]
        level = np.asarray(cv2.resize(level, sides, interpolation=cv2.INTER_AREA), np.uint8)
        self._density = max(sides) / (2 * metres)
        """Resolution of the finest level, pixels per metre."""
        self._period = tuple(side / self._density for side in sides)
        self._levels: list[Image] = [level]
        while min(level.shape[:2]) > 4:
            size = (level.shape[1] // 2, level.shape[0] // 2)
            level = np.asarray(cv2.resize(level, size, interpolation=cv2.INTER_AREA), np.uint8)
            self._levels.append(level)

    def draw(self, frame: Image, pose: Pose, lens: Pinhole) -> None:
        """Draw the ground below the horizon, in place."""
        first = max(0, math.floor(lens.horizon(pose)) + 1)
        if first >= lens.height:
            return
        x, y = (math.remainder(p, period) for p, period in zip((pose.x, pose.y), self._period))
        plane = np.array(((1.0, 0, -x), (0, 1.0, -y), (0, 0, -pose.z)))
        to_ground = np.linalg.inv(lens.projection(pose) @ plane)
        levels = self._level_of_rows(np.arange(first, lens.height), pose, lens)
        starts = np.flatnonzero(np.diff(levels, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(levels)]):
            number = int(levels[start])
            texture = self._levels[number]
            density = self._density / 2**number
            # At every level, the middle of the first pixel is half a pixel from the texture's edge.
            to_texture = np.array(((density, 0, -0.5), (0, density, -0.5), (0, 0, 1.0)))
            shift = np.array(((1.0, 0, 0), (0, 1.0, first + start), (0, 0, 1.0)))
            part = frame[first + start : first + end]
            cv2.warpPerspective(
                texture,
                to_texture @ to_ground @ shift,
                (lens.width, len(part)),
                dst=part,
                flags=_WARP,
                borderMode=cv2.BORDER_WRAP,
            )

    def _level_of_rows(self, rows: NDArray[np.int_], pose: Pose, lens: Pinhole) -> NDArray[np.int_]:
        """Return the level of the texture whose resolution suits each row."""
        slope = (rows - lens.centre[1]) / lens.focal
        down = slope * math.cos(pose.pitch) - math.sin(pose.pitch)
        scale = pose.z / np.maximum(down, 1e-4)
        across = scale / lens.focal
        along = across * scale / max(pose.z, 1e-3)
        # A compromise between both directions, because one texture cannot filter anisotropically.
        wanted = np.log2(np.sqrt(across * along) * self._density)
        return np.asarray(np.clip(np.floor(wanted + 0.4), 0, len(self._levels) - 1), np.int_)
