# SPDX-License-Identifier: Apache-2.0
"""Readers of data sets, each in its own true folder layout.

A reader returns clips: images that show one object, with a box for each. A missing or broken
sequence is skipped with a warning; a data set without any is an error.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.frames import image_files


class ImagesOf(Sequence[Path]):
    """The images of a folder. TrackingNet has 14 million: as paths they would take gigabytes."""

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
    """Images of one object in the order of time; a photograph is a clip of one."""

    name: str
    images: Sequence[Path]
    boxes: NDArray[np.float32]
    """(images, 4) as x y w h, NaN where the object is absent or hidden."""

    @property
    def visible(self) -> NDArray[np.intp]:
        """Indices of the images whose box is of use."""
        finite = np.isfinite(self.boxes).all(axis=1)
        with np.errstate(invalid='ignore'):
            return np.flatnonzero(finite & (self.boxes[:, 2:] >= 2).all(axis=1))


class Skipped(NamedTuple):
    """A file or folder of a data set that cannot be used."""

    what: Path
    reason: object


class DataSetError(ValueError):
    """A data set that is missing or empty; the message names the folder."""


def read_clips(layout: str, root: Path) -> list[Clip]:
    """Return the clips of the data set of this layout at `root`; layouts: keys of `LAYOUTS`.

    Raises DataSetError for an unknown layout, a missing folder and a data set without a clip.
    """
    if layout not in LAYOUTS:
        raise DataSetError(f"no layout '{layout}'; there are {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise DataSetError(f'{layout}: no folder {root}')
    clips: list[Clip] = []
    skipped = 0
    for found in LAYOUTS[layout](root):
        if isinstance(found, Skipped):
            skipped += 1
            warnings.warn(f'skipped {found.what}: {found.reason}', stacklevel=2)
        elif len(found.visible):
            clips.append(found)
    if not clips:
        raise DataSetError(f'{layout}: no usable sequence or image in {root}')
    if skipped:
        text = f'{layout}: skipped {skipped} in {root}, {len(clips)} clips are used'
        warnings.warn(text, stacklevel=2)
    return clips


def _numbers(path: Path) -> NDArray[np.float32]:
    """Return the rows of a text of numbers, separated by commas, tabs or spaces."""
    text = path.read_text(encoding='utf-8', errors='replace').replace(',', ' ')
    rows = [line.split() for line in text.splitlines() if line.strip()]
    try:
        return np.array(rows, np.float32)
    except ValueError as error:
        raise ValueError(f'{path} is not a table of numbers ({error})') from None


def _boxes(path: Path) -> NDArray[np.float32]:
    """Return the boxes of a text, (n, 4)."""
    boxes = _numbers(path)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'{path}: expected x y w h a line')
    return boxes


def _flags(path: Path, count: int) -> NDArray[np.float32]:
    """Return the numbers of a text, one a frame, on one line or on as many."""
    flags = _numbers(path).ravel()
    if len(flags) != count:
        raise ValueError(f'{path} has {len(flags)} numbers for {count} boxes')
    return flags


def _clip(name: str, images: list[Path], boxes: NDArray[np.float32]) -> Clip:
    if len(images) != len(boxes):
        raise ValueError(f'{len(images)} images but {len(boxes)} boxes')
    folder = images[0].parent if images else Path()
    return Clip(name, ImagesOf(folder, (path.name for path in images)), boxes)


def _sequences(paths: Iterable[Path], read: Callable[[Path], Clip]) -> Iterator[Clip | Skipped]:
    for path in sorted(paths):
        try:
            yield read(path)
        except (OSError, ValueError) as error:
            yield Skipped(path, error)


def _plain(root: Path) -> Iterator[Clip | Skipped]:
    """<sequence>/<images> and groundtruth.txt (x y w h a line, nan where absent)."""

    def read(folder: Path) -> Clip:
        return _clip(folder.name, image_files(folder), _boxes(folder / 'groundtruth.txt'))

    return _sequences((path for path in root.iterdir() if path.is_dir()), read)


def _lasot(root: Path) -> Iterator[Clip | Skipped]:
    """<class>/<class>-<n>/img/*.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt."""

    def read(folder: Path) -> Clip:
        boxes = _boxes(folder / 'groundtruth.txt')
        for name in ('full_occlusion.txt', 'out_of_view.txt'):
            boxes[_flags(folder / name, len(boxes)) != 0] = np.nan
        return _clip(folder.name, image_files(folder / 'img'), boxes)

    return _sequences(root.glob('*/*-*'), read)


def _got10k(root: Path) -> Iterator[Clip | Skipped]:
    """<split>/GOT-10k_*/<n>.jpg, groundtruth.txt, absence.label, cover.label (0 to 8)."""

    def read(folder: Path) -> Clip:
        boxes = _boxes(folder / 'groundtruth.txt')
        boxes[_flags(folder / 'absence.label', len(boxes)) != 0] = np.nan
        cover = folder / 'cover.label'
        if cover.is_file():
            boxes[_flags(cover, len(boxes)) == 0] = np.nan
        return _clip(folder.name, image_files(folder), boxes)

    return _sequences((path.parent for path in root.rglob('groundtruth.txt')), read)


def _trackingnet(root: Path) -> Iterator[Clip | Skipped]:
    """TRAIN_<k>/anno/<name>.txt and TRAIN_<k>/frames/<name>/<n>.jpg, n from 0."""

    def read(annotation: Path) -> Clip:
        folder = annotation.parents[1] / 'frames' / annotation.stem
        return _clip(annotation.stem, image_files(folder), _boxes(annotation))

    return _sequences(root.glob('TRAIN_*/anno/*.txt'), read)


def _coco(root: Path) -> Iterator[Clip | Skipped]:
    """annotations/instances_<split>.json and <split>/*.jpg; each object is a clip of one."""
    for annotation in sorted(root.glob('annotations/instances_*.json')):
        folder = root / annotation.stem.removeprefix('instances_')
        if not folder.is_dir():
            yield Skipped(annotation, f'no folder {folder}')
            continue
        try:
            content = json.loads(annotation.read_text(encoding='utf-8'))
            names = {image['id']: folder / image['file_name'] for image in content['images']}
            for item in content['annotations']:
                if item.get('iscrowd') or item['image_id'] not in names:
                    continue
                boxes = np.array(item['bbox'], np.float32).reshape(1, 4)
                yield Clip(f'coco-{item["id"]}', (names[item['image_id']],), boxes)
        except (OSError, ValueError, KeyError, TypeError) as error:
            yield Skipped(annotation, f'not as expected: {type(error).__name__} {error}')


def _boxed(root: Path) -> Iterator[Clip | Skipped]:
    """boxes.json {image: [[x, y, w, h], ...]} beside its images, in any subfolder."""
    for listing in sorted(root.rglob('boxes.json')):
        try:
            for name, boxes in json.loads(listing.read_text(encoding='utf-8')).items():
                image = listing.parent / name
                if not image.is_file():
                    yield Skipped(image, 'no such image')
                    continue
                rows = np.array(boxes, np.float32).reshape(-1, 1, 4)
                for number, row in enumerate(rows):
                    yield Clip(f'{name}-{number}', (image,), row)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            yield Skipped(listing, f'not as expected: {type(error).__name__} {error}')


def _masks(root: Path) -> Iterator[Clip | Skipped]:
    """DAVIS: JPEGImages/<size>/<sequence>/*.jpg and Annotations/<size>/<sequence>/*.png.

    Each grey level or colour of the masks but black and white is an object; a mask of black and
    white alone shows one (DAVIS 2016).
    """
    for folder in sorted(root.glob('Annotations/*/*')):
        masks = image_files(folder) if folder.is_dir() else []
        scene = root / 'JPEGImages' / folder.parent.name / folder.name
        images = ImagesOf(scene, (f'{path.stem}.jpg' for path in masks))
        missing = next((path for path in images if not path.is_file()), None)
        if missing is not None:
            yield Skipped(folder, f'no image {missing}')
            continue
        objects: dict[int, NDArray[np.float32]] = {}
        for number, path in enumerate(masks):
            mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if mask is None:
                yield Skipped(path, 'not a readable mask')
                continue
            if mask.ndim == 3:  # OpenCV gives the colours of an indexed mask, not its indices
                mask = mask[:, :, :3].astype(np.int32) @ np.array([1, 1 << 8, 1 << 16])
                mask = np.where(mask == 0xFFFFFF, 255, mask)
            values = [int(value) for value in np.unique(mask) if value != 0]
            for value in [v for v in values if v != 255] or values:
                rows = objects.setdefault(value, np.full((len(images), 4), np.nan, np.float32))
                rows[number] = cv2.boundingRect((mask == value).astype(np.uint8))
        for number, (_, rows) in enumerate(sorted(objects.items()), 1):
            yield Clip(f'{folder.name}-{number}', images, rows)


LAYOUTS: dict[str, Callable[[Path], Iterator[Clip | Skipped]]] = {
    'plain': _plain,
    'lasot': _lasot,
    'got10k': _got10k,
    'trackingnet': _trackingnet,
    'coco': _coco,
    'boxed': _boxed,
    'masks': _masks,
}
