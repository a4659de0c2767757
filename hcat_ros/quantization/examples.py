# SPDX-License-Identifier: Apache-2.0
"""Example inputs for the search graph: crops along the true tracks of real sequences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.boxes import Box
from hcat_ros.evaluation.clips import Clip
from hcat_ros.files.pictures import read_picture
from hcat_ros.models import ModelCard
from hcat_ros.tracking.crop import (
    SEARCH_FACTOR,
    TEMPLATE_FACTOR,
    crop_resized,
    crop_side,
    mean_colour,
)
from hcat_ros.tracking.encodings import Image


class Crops(NamedTuple):
    """A template crop and a search crop of one target, uint8 RGB."""

    template: NDArray[np.uint8]
    """Template crop, (template_size, template_size, 3)."""
    search: NDArray[np.uint8]
    """Search crop, (search_size, search_size, 3)."""


def crops_along_tracks(
    clips: Sequence[Clip], card: ModelCard, count: int, seed: int = 0
) -> list[Crops]:
    """Return `count` pairs of crops, spread evenly over the clips.

    The template comes from a clip's first visible frame. The search region of a later frame is
    centred on the box of the visible frame before it, as if the tracker had not lost the target.
    Raises ValueError if no clip has two visible frames, and for a frame that cannot be read.
    """
    usable = [clip for clip in clips if len(clip.visible) > 1]
    if not usable:
        raise ValueError(f'none of {len(clips)} sequences has two frames with a target')
    rng = np.random.default_rng(seed)
    crops: list[Crops] = []
    while len(crops) < count:
        for number in rng.permutation(len(usable))[: count - len(crops)]:
            clip = usable[number]
            later = int(rng.integers(1, len(clip.visible)))
            first, before, now = clip.visible[[0, later - 1, later]]
            template = _crop(
                clip.images[first], clip.boxes[first], TEMPLATE_FACTOR, card.template_size
            )
            search = _crop(clip.images[now], clip.boxes[before], SEARCH_FACTOR, card.search_size)
            crops.append(Crops(template, search))
    return crops


def _crop(path: Path, box: NDArray[np.float32], factor: int, size: int) -> Image:
    """Return the square crop around a box, RGB, (size, size, 3)."""
    frame = read_picture(path)
    target = Box(*(float(value) for value in box))
    side = crop_side(target.w, target.h, factor)
    crop = crop_resized(frame, target.cx, target.cy, side, size, mean_colour(frame))
    return np.ascontiguousarray(crop[:, :, ::-1])
