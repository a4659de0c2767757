# SPDX-License-Identifier: Apache-2.0
"""Readers of data sets, each in its own true folder layout.

A reader returns clips: images that show one object, with a box for each. A missing or broken
sequence is skipped with a warning; a data set without any is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation import benchmarks
from hcat_ros.evaluation.annotation_files import absent_where_empty, read_box_table, read_flags
from hcat_ros.evaluation.image_clip import Clip, Found, ImagesOf, Skipped, clip_of, each_sequence
from hcat_ros.files import load_json, shown
from hcat_ros.files.pictures import image_files, is_image, read_mask

__all__ = [
    'LAYOUTS',
    'Clip',
    'DataSetError',
    'ImagesOf',
    'Skipped',
    'describe_left_out',
    'keep_scorable',
    'read_clips',
]


ONE_FRAME = 'its target is in one frame only'
MOST_OBJECTS = 255
"""Most objects in a sequence of masks: a palette has no more indices."""
LARGEST_ANNOTATIONS = 2 << 30
"""Bytes: COCO's of training are half a gigabyte."""
_UNEXPECTED = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError)
"""Errors raised by the use of JSON values of an unexpected type or size."""


class DataSetError(ValueError):
    """A data set that is missing or empty; the message names the folder."""


def read_clips(layout: str, root: Path, dtype: type[np.floating[Any]] = np.float64) -> list[Clip]:
    """Return the clips of the data set of this layout at `root`; layouts: keys of `LAYOUTS`.

    dtype: of the boxes. They are read as float64, as toolkits compare them; float32 halves what
    those of a training set take.

    Raises DataSetError as `read_data_set`.
    """
    return read_data_set(layout, root, dtype).clips


class DataSet(NamedTuple):
    """What a folder holds that is of use, and what it holds that is not."""

    clips: list[Clip]
    left_out: list[Skipped]


def read_data_set(layout: str, root: Path, dtype: type[np.floating[Any]] = np.float64) -> DataSet:
    """Return the clips of the data set of this layout at `root`, and what was left out and why.

    Raises DataSetError for an unknown layout, a missing folder and a data set without a clip.
    """
    if layout not in LAYOUTS:
        raise DataSetError(f"no layout '{layout}'; there are {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise DataSetError(f'{layout}: no folder {root}')
    clips: list[Clip] = []
    left_out: list[Skipped] = []
    for found in LAYOUTS[layout](root):
        if isinstance(found, Clip) and len(found.visible):
            clips.append(replace(found, boxes=found.boxes.astype(dtype, copy=False)))
            continue
        if isinstance(found, Clip):
            if len(found.images) == 1:  # one of many objects, too small to be of use
                continue
            found = Skipped(Path(found.name), 'the target is in none of its frames')
        left_out.append(found)
        warnings.warn(f'skipped {found.what}: {found.reason}', stacklevel=2)
    if not clips:
        raise DataSetError(f'{layout}: no usable sequence or image in {root}')
    if left_out:
        text = f'{layout}: skipped {len(left_out)} in {root}, {len(clips)} clips are used'
        warnings.warn(text, stacklevel=2)
    return DataSet(clips, left_out)


def keep_scorable(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips with a box to compare with after the first one; warn of each other by name.

    Of the others every measure would be NaN, and so every mean. Raises DataSetError if none is
    left.
    """
    kept = [clip for clip in clips if len(clip.visible) > 1]
    for clip in clips:
        if len(clip.visible) <= 1:
            warnings.warn(f'skipped {clip.name}: {ONE_FRAME}', stacklevel=2)
    if not kept:
        raise DataSetError(
            f'no sequence can be scored: {", ".join(clip.name for clip in clips)}: {ONE_FRAME}'
        )
    return kept


def describe_left_out(data: DataSet, kept: Sequence[Clip]) -> list[str]:
    """Return a line for each part of a data set that is not among the clips that were kept."""
    names = {clip.name for clip in kept}
    others = [clip.name for clip in data.clips if clip.name not in names]
    unusable = [f'{each.what}: {each.reason}' for each in data.left_out]
    return [*unusable, *(f'{name}: {ONE_FRAME}' for name in others)]


def _plain(root: Path) -> Found:
    """<sequence>/<images> and groundtruth.txt (x y w h a line, nan where absent), or one of it."""

    def read(folder: Path) -> Clip:
        boxes = absent_where_empty(read_box_table(folder / 'groundtruth.txt'))
        # A link goes by its own name: two may lead to folders of one name.
        name = folder.name if folder.name not in ('', '..') else folder.resolve().name
        return clip_of(name, image_files(folder), boxes)

    if (root / 'groundtruth.txt').is_file():
        return each_sequence([root], read)
    folders = [path for path in root.iterdir() if path.is_dir()]
    sequences = [path for path in folders if _may_be_sequence(path)]
    return each_sequence(sequences or folders, read)


def _may_be_sequence(folder: Path) -> bool:
    """Return whether a folder is worth a warning if it cannot be read as a sequence.

    Hidden folders are not, and others without images (also one level below) and groundtruth: the
    folder of `hcat evaluate --out`, for one.
    """
    if folder.name.startswith('.'):
        return False
    try:
        if any(folder.glob('groundtruth*')):
            return True
        return any(
            is_image(path) for path in chain(folder.iterdir(), folder.glob('*/*')) if path.is_file()
        )
    except OSError:
        return True


def _lasot(root: Path) -> Found:
    """<class>/<class>-<n>/img/*.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt.

    The folders of the classes may be left out.
    """

    def read(folder: Path) -> Clip:
        boxes = absent_where_empty(read_box_table(folder / 'groundtruth.txt'))
        for name in ('full_occlusion.txt', 'out_of_view.txt'):
            boxes[read_flags(folder / name, len(boxes)) != 0] = np.nan
        return clip_of(folder.name, image_files(folder / 'img'), boxes)

    without_classes = (path for path in root.glob('*-*') if (path / 'img').is_dir())
    return each_sequence(chain(root.glob('*/*-*'), without_classes), read)


def _got10k(root: Path) -> Found:
    """<split>/GOT-10k_*/<n>.jpg, groundtruth.txt, absence.label, cover.label (0 to 8).

    Of a test sequence only the first box is told. They are read where there are no others.
    """

    def read(folder: Path) -> Clip:
        images, boxes = image_files(folder), read_box_table(folder / 'groundtruth.txt')
        cover = folder / 'cover.label'
        if folder.name.startswith('GOT-10k_Test'):
            boxes = _first_alone(boxes, len(images))
        elif folder.name.startswith('GOT-10k_Val') and cover.is_file():
            # The benchmark scores by this label alone, and begins at the first box anyhow.
            hidden = read_flags(cover, len(boxes)) == 0
            boxes[1:][hidden[1:]] = np.nan
        else:
            boxes[read_flags(folder / 'absence.label', len(boxes)) != 0] = np.nan
            if cover.is_file():
                boxes[read_flags(cover, len(boxes)) == 0] = np.nan
        return clip_of(folder.name, images, boxes)

    # rglob does not go into folders behind links: splits and sequences often are such.
    linked = (root.glob(f'{levels}groundtruth.txt') for levels in ('*/', '*/*/'))
    folders = sorted({path.parent for path in chain(root.rglob('groundtruth.txt'), *linked)})
    told = [path for path in folders if not path.name.startswith('GOT-10k_Test')]
    return each_sequence(told or folders, read)


def _trackingnet(root: Path) -> Found:
    """TRAIN_<k>/anno/<name>.txt and TRAIN_<k>/frames/<name>/<n>.jpg, n from 0.

    Of the sequences of TEST only the first box is told. They are read where there are no others,
    and where `root` is that folder.
    """

    def read(annotation: Path) -> Clip:
        part = annotation.parents[1]
        images, boxes = image_files(part / 'frames' / annotation.stem), read_box_table(annotation)
        if 'TEST' in (part.name, part.resolve().name):
            boxes = _first_alone(boxes, len(images))
        return clip_of(annotation.stem, images, boxes)

    parts = [root] if (root / 'anno').is_dir() else [*root.glob('TRAIN_*')] or [root / 'TEST']
    return each_sequence(chain.from_iterable(part.glob('anno/*.txt') for part in parts), read)


def _first_alone(boxes: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return one box and NaN for all frames but the first; boxes of every frame as they are."""
    if len(boxes) != 1:
        return boxes
    return np.concatenate([boxes, np.full((max(count - 1, 0), 4), np.nan)])


def _coco(root: Path) -> Found:
    """annotations/instances_<split>.json and <split>/*.jpg; each object is a clip of one."""
    for annotation in sorted(root.glob('annotations/instances_*.json')):
        folder = root / annotation.stem.removeprefix('instances_')
        if not folder.is_dir():
            yield Skipped(annotation, f'no folder {folder}')
            continue
        try:
            content = load_json(annotation, LARGEST_ANNOTATIONS)
            images, annotations = list(content['images']), list(content['annotations'])
        except _UNEXPECTED as error:
            yield Skipped(annotation, f'not as expected: {type(error).__name__} {error}')
            continue
        names: dict[Any, Path] = {}
        for number, item in enumerate(images):
            try:
                names[item['id']] = folder / item['file_name']
            except _UNEXPECTED as error:
                what = f'image {number} ({shown(item)})'
                yield Skipped(annotation, f'{what} not as expected: {error}')
        for number, item in enumerate(annotations):
            try:
                if item.get('iscrowd') or item['image_id'] not in names:
                    continue
                boxes = np.array(item['bbox'], np.float64).reshape(1, 4)
                yield Clip(f'coco-{item["id"]}', (names[item['image_id']],), boxes)
            except _UNEXPECTED as error:
                what = f'annotation {number} ({shown(item)})'
                yield Skipped(annotation, f'{what} not as expected: {error}')


def _boxed(root: Path) -> Found:
    """boxes.json {image: [[x, y, w, h], ...]} beside its images, in any subfolder."""
    for listing in sorted(root.rglob('boxes.json')):
        try:
            listed = list(load_json(listing, LARGEST_ANNOTATIONS).items())
        except _UNEXPECTED as error:
            yield Skipped(listing, f'not as expected: {type(error).__name__} {error}')
            continue
        for name, boxes in listed:
            image = listing.parent / name
            try:
                if not image.is_file():
                    yield Skipped(image, 'no such image')
                    continue
                rows = np.array(boxes, np.float64).reshape(-1, 1, 4)
            except _UNEXPECTED as error:
                yield Skipped(listing, f'boxes of {shown(name)} not as expected: {error}')
                continue
            for number, row in enumerate(rows):
                yield Clip(f'{name}-{number}', (image,), row)


def _masks(root: Path) -> Found:
    """DAVIS: JPEGImages/<size>/<sequence>/*.jpg and Annotations/<size>/<sequence>/*.png.

    Each index of the masks' palette, else each grey level or colour but black and white, is an
    object; a mask of black and white alone shows one (DAVIS 2016). With a palette the object's
    number is its index, as in DAVIS; else they are counted. Where there are several sizes, a clip's
    name begins with its own.
    """
    folders = sorted(root.glob('Annotations/*/*'))
    several = len({folder.parent for folder in folders}) > 1
    for folder in folders:
        masks = image_files(folder) if folder.is_dir() else []
        scene = root / 'JPEGImages' / folder.parent.name / folder.name
        images = ImagesOf(scene, (f'{path.stem}.jpg' for path in masks))
        missing = next((path for path in images if not path.is_file()), None)
        if missing is not None:
            yield Skipped(folder, f'no image {missing}')
            continue
        objects: dict[int, NDArray[np.float64]] = {}
        indexed = True
        for number, path in enumerate(masks):
            try:
                mask, has_palette = read_mask(path)
            except (OSError, ValueError) as error:
                yield Skipped(path, error)
                continue
            indexed &= has_palette
            mask = np.where(mask == 0xFFFFFF, 255, mask)
            values = [int(value) for value in np.unique(mask) if value != 0]
            if len(objects.keys() | values) > MOST_OBJECTS:
                yield Skipped(
                    path,
                    f'{len(values)} values or colours; expected one for each object and at most '
                    f'{MOST_OBJECTS} in a sequence (JPEG and soft edges add colours)',
                )
                continue
            for value in [v for v in values if v != 255] or values:
                rows = objects.setdefault(value, np.full((len(images), 4), np.nan))
                rows[number] = cv2.boundingRect((mask == value).astype(np.uint8))
        for number, (value, rows) in enumerate(sorted(objects.items()), 1):
            size = f'{folder.parent.name}-' if several else ''
            yield Clip(f'{size}{folder.name}-{value if indexed else number}', images, rows)


LAYOUTS: dict[str, Callable[[Path], Found]] = {
    'plain': _plain,
    'otb': benchmarks.otb,
    'uav123': benchmarks.uav123,
    'uav123_10fps': benchmarks.uav123_10fps,
    'uav20l': benchmarks.uav20l,
    'nfs': benchmarks.nfs,
    'nfs_30fps': benchmarks.nfs_30fps,
    'vot': benchmarks.vot,
    'lasot': _lasot,
    'got10k': _got10k,
    'trackingnet': _trackingnet,
    'masks': _masks,
    'coco': _coco,
    'boxed': _boxed,
}
