# SPDX-License-Identifier: Apache-2.0
"""Readers of data sets in their original folder layouts.

A reader yields clips: images that show one object, with a box for each image. A missing or broken
sequence is skipped with a warning; a data set without a usable sequence is an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
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
from hcat_ros.files import load_json, read_text, shown
from hcat_ros.files.pictures import file_size, image_files, is_image, read_mask

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
"""Largest number of objects in a sequence of masks: a palette has no more indices."""
LARGEST_ANNOTATIONS = 2 << 30
"""Largest size of an annotation file, bytes; COCO's for training have half a gigabyte."""
_UNEXPECTED = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError)
"""Errors raised by the use of JSON values of an unexpected type or size."""


class DataSetError(ValueError):
    """A data set that is missing or empty; the message names the folder."""


def read_clips(layout: str, root: Path, dtype: type[np.floating[Any]] = np.float64) -> list[Clip]:
    """Return the clips of the data set at `root`. layout: a key of `LAYOUTS`.

    dtype: type of the boxes. The default, float64, is the type that toolkits compare; float32
    halves the memory for the boxes of a training set.

    Raises DataSetError as `read_data_set` does.
    """
    return read_data_set(layout, root, dtype).clips


class DataSet(NamedTuple):
    """The usable clips of a data set, and the parts that were left out."""

    clips: list[Clip]
    left_out: list[Skipped]


def read_data_set(layout: str, root: Path, dtype: type[np.floating[Any]] = np.float64) -> DataSet:
    """Return the clips of the data set at `root`, and what was left out and why.

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
            if len(found.images) == 1:  # one of many objects, too small to be useful
                continue
            found = Skipped(Path(found.name), 'the target is in none of its frames')
        left_out.append(found)
        warnings.warn(f'skipped {found.what}: {found.reason}', stacklevel=2)
    if not clips:
        raise DataSetError(
            f'{layout}: no usable sequence or image in {root}{_suspicion(layout, root)}'
        )
    if left_out:
        text = f'{layout}: skipped {len(left_out)} in {root}, {len(clips)} clips are used'
        warnings.warn(text, stacklevel=2)
    return DataSet(clips, left_out)


def _suspicion(layout: str, root: Path) -> str:
    """Return which other layout a folder seems to have, with the remedy, for an error message."""
    seen = [
        other
        for other, patterns in _SIGNS.items()
        if any(any(root.glob(pattern)) for pattern in patterns)
    ]
    # Sequences of other benchmarks have a groundtruth.txt, too.
    if not seen or seen[0] == layout or (layout in seen and layout != 'plain'):
        return ''
    return f'; it looks like the layout {seen[0]} (--benchmark {seen[0]})'


def keep_scorable(clips: Sequence[Clip]) -> list[Clip]:
    """Return the clips with a visible target after the first box; warn of each clip left out.

    Every measure of the clips left out would be NaN, and so would every mean. Raises DataSetError
    if no clip remains.
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
    """<sequence>/<images> and <sequence>/groundtruth.txt (x y w h a line, nan where absent).

    `root` may also be the folder of a single sequence.
    """

    def read(folder: Path) -> Clip:
        boxes = absent_where_empty(read_box_table(folder / 'groundtruth.txt'))
        # A symbolic link keeps its own name, since two links may lead to folders of equal names.
        name = folder.name if folder.name not in ('', '..') else folder.resolve().name
        return clip_of(name, image_files(folder), boxes)

    if (root / 'groundtruth.txt').is_file():
        return each_sequence([root], read)
    folders = [path for path in root.iterdir() if path.is_dir()]
    sequences = [path for path in folders if _may_be_sequence(path)]
    return each_sequence(sequences or folders, read)


def _may_be_sequence(folder: Path) -> bool:
    """Return whether a folder is worth a warning if it cannot be read as a sequence.

    Hidden folders are not, nor are folders that hold neither groundtruth nor images (also one
    level below), such as the folder of `hcat evaluate --out`.
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

    The sequences may also lie in `root` itself, without the folders of the classes.
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

    Test sequences publish only their first box; they are read only if there are no others. If
    list.txt exists, it names the sequences that there should be.
    """

    def read(folder: Path) -> Clip:
        images, boxes = image_files(folder), read_box_table(folder / 'groundtruth.txt')
        cover = folder / 'cover.label'
        if folder.name.startswith('GOT-10k_Test'):
            boxes = _pad_first_box(boxes, len(images))
        elif folder.name.startswith('GOT-10k_Val') and cover.is_file():
            # The benchmark scores by this label alone and always begins at the first box.
            hidden = read_flags(cover, len(boxes)) == 0
            boxes[1:][hidden[1:]] = np.nan
        else:
            boxes[read_flags(folder / 'absence.label', len(boxes)) != 0] = np.nan
            if cover.is_file():
                boxes[read_flags(cover, len(boxes)) == 0] = np.nan
        return clip_of(folder.name, images, boxes)

    # rglob does not follow symbolic links, which splits and sequences often are.
    linked = (root.glob(f'{levels}groundtruth.txt') for levels in ('*/', '*/*/'))
    folders = sorted({path.parent for path in chain(root.rglob('groundtruth.txt'), *linked)})
    annotated = [path for path in folders if not path.name.startswith('GOT-10k_Test')]
    yield from each_sequence(annotated or folders, read)
    # To have a part of the training split is normal.
    kind = 'GOT-10k_Val' if annotated else 'GOT-10k_Test'
    present = {path.name for path in folders}
    for listing in chain.from_iterable(root.glob(f'{levels}list.txt') for levels in ('', '*/')):
        try:
            names = dict.fromkeys(map(str.strip, read_text(listing).splitlines()))
        except (OSError, ValueError) as error:
            yield Skipped(listing, error)
            continue
        for name in names:
            if name.startswith(kind) and name not in present:
                folder = listing.parent / name
                yield Skipped(folder, f'{listing} names it; no {folder / "groundtruth.txt"}')


def _trackingnet(root: Path) -> Found:
    """TRAIN_<k>/anno/<name>.txt and TRAIN_<k>/frames/<name>/<n>.jpg, n from 0.

    The sequences of TEST publish only their first box. They are read only if there are no others
    or if `root` is that folder.
    """

    def read(annotation: Path) -> Clip:
        part = annotation.parents[1]
        images, boxes = image_files(part / 'frames' / annotation.stem), read_box_table(annotation)
        if 'TEST' in (part.name, part.resolve().name):
            boxes = _pad_first_box(boxes, len(images))
        return clip_of(annotation.stem, images, boxes)

    parts = [root] if (root / 'anno').is_dir() else [*root.glob('TRAIN_*')] or [root / 'TEST']
    return each_sequence(chain.from_iterable(part.glob('anno/*.txt') for part in parts), read)


def _pad_first_box(boxes: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return a single box followed by NaN for the other frames; more boxes are left unchanged."""
    if len(boxes) != 1:
        return boxes
    return np.concatenate([boxes, np.full((max(count - 1, 0), 4), np.nan)])


def _coco(root: Path) -> Found:
    """annotations/instances_<split>.json and <split>/*.jpg; each object is a clip of one image."""
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

    An object is an index of the masks' palette or, without a palette, a grey level or colour other
    than black and white; a mask of only black and white shows one object (DAVIS 2016). With a
    palette, an object's number is its index, as in DAVIS; otherwise objects are counted from 1. If
    there are several sizes, the name of a clip begins with its size.
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
        image_size: tuple[int, int] | None = None
        with suppress(OSError, ValueError):  # of the image: the code that uses it reports it
            image_size = file_size(images[0]) if masks else None
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
            height, width = mask.shape
            if image_size is not None and (width, height) != image_size:
                yield Skipped(
                    path,
                    f'a mask of {width}x{height} for an image of {image_size[0]}x{image_size[1]}; '
                    "take the masks of the images' own resolution",
                )
                continue
            is_lossy = path.suffix.lower() in ('.jpg', '.jpeg') and values not in ([], [255])
            if is_lossy or len(objects.keys() | values) > MOST_OBJECTS:
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
_SIGNS = {
    'got10k': ('GOT-10k_*', '*/GOT-10k_*'),
    'otb': ('*/groundtruth_rect*.txt',),
    'uav123': ('anno/UAV123',),
    'uav123_10fps': ('anno/UAV123_10fps',),
    'uav20l': ('anno/UAV20L',),
    'nfs': ('*/240',),
    'nfs_30fps': ('*/30',),
    'vot': ('sequences', 'list.txt', '*/color'),
    'lasot': ('*/full_occlusion.txt', '*/*/full_occlusion.txt'),
    'trackingnet': ('TRAIN_*', 'TEST/anno'),
    'plain': ('groundtruth.txt', '*/groundtruth.txt'),
}
"""Files and folders, as patterns, that few other benchmarks have, by layout."""
