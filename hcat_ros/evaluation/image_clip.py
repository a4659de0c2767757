# SPDX-License-Identifier: Apache-2.0
"""A clip: images of one object and its box in each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray


class ImagesOf(Sequence[Path]):
    """Paths of a folder's images, kept small: 14 million Paths of TrackingNet need gigabytes."""

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self._folder = str(folder)
        self._names = np.array([os.fsencode(name) for name in names], np.bytes_)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | Sequence[Path]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return Path(self._folder, os.fsdecode(self._names[index]))


@dataclass(frozen=True)
class Clip:
    """Images of one object in order of time; a photograph is a clip of one image."""

    name: str
    images: Sequence[Path]
    boxes: NDArray[np.floating[Any]]
    """(images, 4) as x y w h, NaN where the object is absent, hidden or without a public box."""

    @property
    def visible(self) -> NDArray[np.intp]:
        """Indices of the images with a usable box, which is finite and has sides of 2 or more."""
        finite = np.isfinite(self.boxes).all(axis=1)
        with np.errstate(invalid='ignore'):
            return np.flatnonzero(finite & (self.boxes[:, 2:] >= 2).all(axis=1))


class Skipped(NamedTuple):
    """A file or folder of a data set that cannot be used."""

    what: Path
    reason: object

    def __str__(self) -> str:
        return f'{self.what.name}: {self.reason}'


Found = Iterator[Clip | Skipped]
"""Clips, and parts that cannot be used, that the reader of a layout yields."""


def clip_of(name: str, images: Sequence[Path], boxes: NDArray[np.float64]) -> Clip:
    """Return a clip of images in one folder. Raises ValueError unless each has a box (n, 4)."""
    if len(images) != len(boxes):
        raise ValueError(f'{len(images)} images but {len(boxes)} boxes')
    folder = images[0].parent if images else Path()
    return Clip(name, ImagesOf(folder, (path.name for path in images)), boxes)


def each_sequence(paths: Iterable[Path], read: Callable[[Path], Clip]) -> Found:
    """Yield the clip of each path in sorted order, or `Skipped` if it cannot be read.

    The metadata that macOS leaves beside each file and folder, `._name`, is passed over.
    """
    for path in sorted(paths):
        if path.name.startswith('._'):
            continue
        try:
            yield read(path)
        except (OSError, ValueError) as error:
            yield Skipped(path, error)
