# SPDX-License-Identifier: Apache-2.0
"""The data set for training: groups of views of one object, created on demand for each index."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hcat_ros.boxes import Box
from hcat_ros.tracking.encodings import Image
from hcat_ros.training import augment
from hcat_ros.training.images import ImageCache
from hcat_ros.training.sources import Sighting, Source
from hcat_ros.training.teachers import Committee, Lesson
from hcat_ros.training.views import Geometry, relative_box, search_view, template_view


class Group(NamedTuple):
    """V views of one object, each as a template and as a search region."""

    templates: Tensor
    """Template crops, uint8 RGB (V, 128, 128, 3), or their backbone features, float16
    (V, C, 8, 8)."""
    searches: Tensor
    """Search crops, uint8 RGB (V, 256, 256, 3), or their backbone features, float16
    (V, C, 16, 16)."""
    boxes: Tensor
    """Boxes of the object in the search regions, float32 (V, 4) as cx cy w h in 0..1."""
    shown: Tensor
    """Whether each search region shows the object, bool (V,)."""
    lesson: Lesson | None = None
    """Answers of the teachers, if there are any."""


@dataclass(frozen=True)
class Chances:
    """Probabilities of the augmentations of a view, 0 to 1, and the strengths of some of them.

    `grey` is drawn once for a whole group. Templates have no distractor, occlusion or motion blur,
    and half the probability of `low_resolution`.
    """

    grey: float = 0.06
    low_resolution: float = 0.4
    motion_blur: float = 0.2
    noise: float = 0.25
    occlusion: float = 0.15
    distractor: float = 0.3
    twin: float = 0.5
    """Share of the distractors that are recoloured copies of the object itself."""
    strength: float = 1.0
    """Strength of the colour changes, a factor."""
    brightness: float = 0.0
    """The paper's brightness jitter: all colours times 1 - brightness to 1 + brightness."""
    surroundings: float = 0.5
    """Share of search regions with a photograph around the frame, if photographs are given."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (0 <= value <= 1 or (name == 'strength' and value > 1)):
                raise ValueError(f'{name} {value}: expected 0 to 1')


@dataclass
class GroupDataset(Dataset[Group]):
    """Groups drawn from sources. Item i depends only on (seed, i), so runs resume exactly."""

    sources: list[Source]
    shares: list[float]
    """How often each source is drawn from, relative to the others."""
    views: int = 6
    """Number of views of a group. 1: a template of one sighting, a search region of another."""
    seed: int = 0
    length: int = 1 << 40
    template_size: int = 128
    search_size: int = 256
    chances: Chances = field(default_factory=Chances)
    geometry: Geometry = field(default_factory=Geometry)
    cutouts: list[Image] = field(default_factory=list)
    """BGRA images to paste as distractors."""
    surroundings: list[Path] = field(default_factory=list)
    """Photographs that fill search regions beyond the frame; otherwise its mean colour does."""
    cache_bytes: int = 3 << 30
    """Size of the cache of decoded images, bytes."""
    committee: Committee | None = None
    """Teachers that answer for each group."""

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.shares) or not sum(self.shares) > 0:
            raise ValueError(f'{len(self.sources)} sources need as many shares, got {self.shares}')
        self._cache = ImageCache(self.cache_bytes)

    @property
    def unreadable(self) -> int:
        """Number of failed reads of an image so far."""
        return self._cache.unreadable

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Group:
        rng = np.random.default_rng([self.seed, index])
        shares = np.asarray(self.shares) / sum(self.shares)
        for _ in range(100):
            source = self.sources[int(rng.choice(len(shares), p=shares))]
            sightings = source.draw(rng, max(2, self.views), self._cache)
            if sightings is not None:
                return self._group(sightings, rng)
        raise RuntimeError(
            'no object with readable images in 100 draws; check the files in the warnings above'
        )

    def _group(self, sightings: list[Sighting], rng: np.random.Generator) -> Group:
        geometry, sizes = self.geometry, (self.template_size, self.search_size)
        mirror = bool(rng.random() < geometry.mirror)
        grey = bool(rng.random() < self.chances.grey)
        templates, searches, boxes, shown = [], [], [], []
        for number in range(self.views):
            image, target, warp = sightings[number]
            how = (warp.times(geometry.warp), mirror, geometry.template)
            crop, inside = template_view(image, target, rng, sizes[0], *how)
            templates.append(self._augment(crop, inside, rng, grey, is_search=False))
            if self.views == 1:
                image, target, warp = sightings[1]
            how = (warp.times(geometry.warp), mirror, geometry.search)
            crop, inside = search_view(image, target, rng, sizes[1], *how, self._ground(rng))
            searches.append(self._augment(crop, inside, rng, grey, is_search=True))
            box, is_shown = relative_box(inside, self.search_size)
            boxes.append(box)
            shown.append(is_shown)
        z, x = np.stack(templates), np.stack(searches)
        return Group(
            torch.from_numpy(z),
            torch.from_numpy(x),
            torch.from_numpy(np.stack(boxes)),
            torch.tensor(shown),
            self.committee.teach(z, x) if self.committee else None,
        )

    def _augment(
        self, crop: Image, box: Box, rng: np.random.Generator, grey: bool, is_search: bool
    ) -> Image:
        """Return an augmented copy of a BGR crop, as RGB."""
        chances = self.chances
        if is_search and rng.random() < chances.distractor:
            other = augment.choose_distractor(crop, box, self.cutouts, chances.twin, rng)
            crop = augment.add_distractor(crop, box, other, rng)
        if is_search and rng.random() < chances.occlusion:
            crop = augment.occlude(crop, box, rng)
        crop = augment.recolour(crop, rng, chances.strength)
        if chances.brightness:
            crop = augment.brighten(crop, rng, chances.brightness)
        if grey:
            crop = augment.grey(crop)
        if rng.random() < chances.low_resolution * (1.0 if is_search else 0.5):
            crop = augment.low_resolution(crop, rng)
        if is_search and rng.random() < chances.motion_blur:
            crop = augment.motion_blur(crop, rng)
        if rng.random() < chances.noise:
            crop = augment.noise(crop, rng)
        return np.ascontiguousarray(crop[:, :, ::-1])

    def _ground(self, rng: np.random.Generator) -> Image | None:
        """Return the photograph around the frame in a search region; None: its mean colour."""
        if not self.surroundings or rng.random() >= self.chances.surroundings:
            return None
        photo = self._cache.read(self.surroundings[int(rng.integers(len(self.surroundings)))])
        return None if photo is None else augment.random_square(photo, self.search_size, rng)


def collate(groups: list[Group]) -> Group:
    """Stack groups: each tensor gets a first axis, (G, V, ...).

    If only some groups have a lesson, the others get a lesson of NaN.
    """
    templates, searches, boxes, shown = (
        torch.stack(parts) for parts in zip(*(group[:4] for group in groups))
    )
    known = next((group.lesson for group in groups if group.lesson is not None), None)
    if known is None:
        return Group(templates, searches, boxes, shown)
    unasked = Lesson(*(torch.full_like(part, torch.nan) for part in known))
    lessons = [unasked if group.lesson is None else group.lesson for group in groups]
    together = Lesson(*(torch.stack(parts) for parts in zip(*lessons)))
    return Group(templates, searches, boxes, shown, together)
