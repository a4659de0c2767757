# SPDX-License-Identifier: Apache-2.0
"""Sources of sightings, images that show the same object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from hcat_ros.boxes import Box
from hcat_ros.evaluation.clips import Clip, DataSetError
from hcat_ros.files.pictures import is_image
from hcat_ros.tracking.encodings import Image
from hcat_ros.training.augment import paste, random_square
from hcat_ros.training.images import ImageCache
from hcat_ros.training.pseudo_labels import contrast
from hcat_ros.training.views import PHOTO_WARP, VIDEO_WARP, Warp


class Sighting(NamedTuple):
    """An image that shows the object."""

    image: Image
    """Image, BGR (H, W, 3)."""
    box: Box
    warp: Warp
    """Warp of this sighting's views: small for video, in which the object itself changes."""


class Source(Protocol):
    """A source from which objects can be drawn at random."""

    def draw(
        self, rng: np.random.Generator, count: int, cache: ImageCache
    ) -> list[Sighting] | None:
        """Return `count` sightings of a random object, None if an image cannot be read."""


@dataclass(frozen=True)
class ClipSource:
    """Draws frames of one clip at most `max_gap` apart, repeating them if there are too few."""

    clips: Sequence[Clip]
    max_gap: int = 100

    def draw(
        self, rng: np.random.Generator, count: int, cache: ImageCache
    ) -> list[Sighting] | None:
        """Return frames drawn from a window of `max_gap` frames of a random clip."""
        clip = self.clips[int(rng.integers(len(self.clips)))]
        visible = clip.visible
        first = int(rng.choice(visible))
        near = visible[(visible >= first) & (visible <= first + self.max_gap)]
        numbers = rng.choice(near, count, replace=len(near) < count)
        warp = VIDEO_WARP if len(near) > 1 else PHOTO_WARP
        sightings = []
        for number in numbers:
            image = cache.read(clip.images[int(number)])
            if image is None:
                return None
            box = Box(*(float(value) for value in clip.boxes[int(number)]))
            sightings.append(Sighting(image, box, warp))
        return sightings


@dataclass(frozen=True)
class PhotoSource:
    """Draws random regions of photographs: of 8, the one with most contrast to its surroundings."""

    photos: Sequence[Path]

    def draw(
        self, rng: np.random.Generator, count: int, cache: ImageCache
    ) -> list[Sighting] | None:
        """Return one region, repeated `count` times."""
        image = cache.read(self.photos[int(rng.integers(len(self.photos)))])
        if image is None:
            return None
        height, width = image.shape[:2]
        small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
        best, best_contrast = None, -1.0
        for _ in range(8):
            extent = rng.uniform(0.08, 0.3)
            ratio = math.exp(rng.normal(0, 0.3))
            w, h = min(0.5, extent * ratio), min(0.5, extent / ratio)
            x, y = rng.uniform(0.1, 0.9 - w), rng.uniform(0.1, 0.9 - h)
            found = contrast(small, x, y, w, h)
            if found > best_contrast:
                best, best_contrast = Box(x * width, y * height, w * width, h * height), found
        assert best is not None
        return [Sighting(image, best, PHOTO_WARP)] * count


@dataclass(frozen=True)
class PasteSource:
    """Pastes cut-out objects (images with alpha) on photographs."""

    cutouts: Sequence[Path]
    backgrounds: Sequence[Path]
    scene: int = 448
    """Side of the square scene, pixels."""

    def draw(
        self, rng: np.random.Generator, count: int, cache: ImageCache
    ) -> list[Sighting] | None:
        """Return one object in `count` scenes, half of which reuse the previous background."""
        cutout = cache.read(self.cutouts[int(rng.integers(len(self.cutouts)))], alpha=True)
        if cutout is None:
            return None
        ratio = math.sqrt(cutout.shape[1] / cutout.shape[0])
        sightings: list[Sighting] = []
        ground: Image | None = None
        for _ in range(count):
            if ground is None or rng.random() < 0.5:
                photo = cache.read(self.backgrounds[int(rng.integers(len(self.backgrounds)))])
                if photo is None:
                    return None
                ground = random_square(photo, self.scene, rng)
            extent = math.exp(rng.uniform(math.log(45), math.log(120)))
            w, h = min(extent * ratio, 0.6 * self.scene), min(extent / ratio, 0.6 * self.scene)
            middle = rng.uniform(0.35, 0.65, 2) * self.scene
            box = Box.from_center(float(middle[0]), float(middle[1]), w, h)
            image = ground.copy()
            paste(image, cutout, box)
            sightings.append(Sighting(image, box, PHOTO_WARP))
        return sightings


def image_paths(root: Path) -> list[Path]:
    """Return the paths of all images below a folder. Raises DataSetError if there are none."""
    paths = sorted(filter(is_image, root.rglob('*')))
    if not paths:
        raise DataSetError(f'no images in {root}')
    return paths
