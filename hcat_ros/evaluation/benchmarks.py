# SPDX-License-Identifier: Apache-2.0
"""Readers of the benchmarks that are used for evaluation only: OTB, UAV123, NfS and VOT.

Boxes keep the benchmark's own pixel coordinates (OTB and UAV123 count from 1), because the public
toolkits score them unchanged.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.annotation_files import parse_number, read_box_table, read_table
from hcat_ros.evaluation.image_clip import Clip, Found, Skipped, clip_of, each_sequence
from hcat_ros.files import read_bytes, read_text
from hcat_ros.files.pictures import MAX_IMAGE_PIXELS, image_files

OTB_FRAMES = {
    'david': (300, 770),
    'diving': (1, 215),
    'football1': (1, 74),
    'freeman3': (1, 460),
    'freeman4': (1, 283),
}
"""First and last annotated frame of the OTB sequences that have more images than boxes."""

UAV123_SEGMENTS = {
    'bird1': ((1, 253), (775, 1477), (1573, 2437)),
    'car1': ((1, 751), (751, 1627), (1627, 2629)),
    'car6': ((1, 487), (487, 1807), (1807, 2953), (2953, 3925), (3925, 4861)),
    'car8': ((1, 1357), (1357, 2575)),
    'car16': ((1, 415), (415, 1993)),
    'group1': ((1, 1333), (1333, 2515), (2515, 3925), (3925, 4873)),
    'group2': ((1, 907), (907, 1771), (1771, 2683)),
    'group3': ((1, 1567), (1567, 2827), (2827, 4369), (4369, 5527)),
    'person2': ((1, 1189), (1189, 2623)),
    'person4': ((1, 1501), (1501, 2743)),
    'person5': ((1, 877), (877, 2101)),
    'person7': ((1, 1249), (1249, 2065)),
    'person8': ((1, 1075), (1075, 1525)),
    'person12': ((1, 601), (601, 1621)),
    'person14': ((1, 847), (847, 1813), (1813, 2923)),
    'person17': ((1, 1501), (1501, 2347)),
    'person19': ((1, 1243), (1243, 2791), (2791, 4357)),
    'truck4': ((1, 577), (577, 1261)),
    'uav1': ((1, 1555), (1555, 2377), (2473, 3469)),
}
"""First and last frame of each sequence `<folder>_<n>`, n from 1, of UAV123 at 30 fps."""

NFS_STEP = 8
"""Number of frames at 240 fps per frame at 30 fps."""


def otb(root: Path) -> Found:
    """<Sequence>/img/*.jpg and groundtruth_rect.txt; .1.txt and .2.txt for two targets.

    A sequence with two targets becomes two clips, <Sequence>.1 and <Sequence>.2. Boxes of zeros
    are kept, because the toolkits count them.
    """
    found = root.glob('*/groundtruth_rect*.txt')
    files = [path for path in found if _has_content(path)]
    targets = Counter(path.parent for path in files)
    for images in sorted(root.glob('*/img')):
        if images.parent not in targets:
            yield Skipped(images.parent, 'no groundtruth_rect.txt with boxes')

    def read(path: Path) -> Clip:
        folder = path.parent
        name = folder.name
        if targets[folder] > 1:
            number = 1 + sorted(file for file in files if file.parent == folder).index(path)
            name = f'{name}.{number}'
        images, boxes = image_files(folder / 'img'), read_box_table(path)
        frames = OTB_FRAMES.get(folder.name.lower())
        if frames and len(images) != len(boxes):
            images = _find_numbered(folder / 'img', *frames)
        return clip_of(name, images, boxes)

    yield from each_sequence(files, read)


def _has_content(path: Path) -> bool:
    """Return whether a file is not blank; True if it is unreadable, so that a warning names it."""
    try:
        return bool(read_bytes(path).strip())
    except (OSError, ValueError):
        return True


def uav123(root: Path) -> Found:
    """data_seq/UAV123/<folder>/<n>.jpg, n from 1, and anno/UAV123/<name>.txt, NaN where absent.

    A folder may hold several sequences, <folder>_1 and so on: `UAV123_SEGMENTS`.
    """
    return _uav(root / 'anno' / 'UAV123', root / 'data_seq' / 'UAV123', step=1)


def uav123_10fps(root: Path) -> Found:
    """Read the layout of `uav123` with UAV123_10fps in place of UAV123: a third of the frames."""
    return _uav(root / 'anno' / 'UAV123_10fps', root / 'data_seq' / 'UAV123_10fps', step=3)


def uav20l(root: Path) -> Found:
    """anno/UAV20L/<name>.txt; each sequence is a whole folder of data_seq/UAV123."""
    return _uav(root / 'anno' / 'UAV20L', root / 'data_seq' / 'UAV123', step=1)


def _uav(annotations: Path, sequences: Path, step: int) -> Found:
    def read(path: Path) -> Clip:
        boxes = read_box_table(path)
        folder, first, last = path.stem, 1, len(boxes)
        part = re.fullmatch(r'(\w+)_(\d+)', path.stem)
        if part and int(part[2]) <= len(UAV123_SEGMENTS.get(part[1], ())):
            folder, frames = part[1], UAV123_SEGMENTS[part[1]][int(part[2]) - 1]
            first, last = ((frame - 1) // step + 1 for frame in frames)
        return clip_of(path.stem, _find_numbered(sequences / folder, first, last), boxes)

    return each_sequence(annotations.glob('*.txt'), read)


def _find_numbered(folder: Path, first: int, last: int) -> list[Path]:
    """Return the images whose file names are the numbers first to last. Raises ValueError."""
    by_number = {int(path.stem): path for path in image_files(folder) if path.stem.isdecimal()}
    missing = [number for number in range(first, last + 1) if number not in by_number]
    if missing:
        raise ValueError(f'{folder} lacks {len(missing)} images; the first is frame {missing[0]}')
    return [by_number[number] for number in range(first, last + 1)]


def nfs(root: Path) -> Found:
    """NfS at 240 fps: <sequence>/240/<sequence>/*.jpg and <sequence>/240/<sequence>.txt.

    A line is `id x1 y1 x2 y2 frame lost occluded generated "label"` (the format of VATIC); the
    target is absent where `lost` is not 0.
    """
    return _nfs(root, 240)


def nfs_30fps(root: Path) -> Found:
    """Read the layout of `nfs` in <sequence>/30; of boxes for 240 fps, every eighth is used."""
    return _nfs(root, 30)


def _nfs(root: Path, fps: int) -> Found:
    def read(folder: Path) -> Clip:
        name = folder.parent.name
        path = folder / f'{name}.txt'
        if not path.is_file() and fps == 30:
            path = folder.with_name('240') / f'{name}.txt'
        images, rows = image_files(folder / name), read_table(path, columns=7)
        if rows.ndim != 2 or rows.shape[1] != 7:
            raise ValueError(f'{path}: expected id x1 y1 x2 y2 frame lost a line')
        if fps == 30 and abs(len(rows) - NFS_STEP * len(images)) < len(images):
            rows = rows[::NFS_STEP]
        if abs(len(images) - len(rows)) == 1:  # ten of the hundred sequences are like this
            count = min(len(images), len(rows))
            images, rows = images[:count], rows[:count]
        boxes = np.concatenate([rows[:, 1:3], rows[:, 3:5] - rows[:, 1:3]], axis=1)
        boxes[rows[:, 6] != 0] = np.nan
        return clip_of(name, images, boxes)

    return each_sequence((path for path in root.glob(f'*/{fps}') if path.is_dir()), read)


def vot(root: Path) -> Found:
    """<sequence>/groundtruth.txt and <sequence>/color/*.jpg, before VOT2018 <sequence>/*.jpg.

    If list.txt exists, it names the sequences. `root` may also be a workspace of VOT's toolkit,
    which keeps them in sequences/. Polygons and masks become the upright boxes around them.

    An empty region marks an absent target and becomes a box of no size; its frame is scored. NaN
    marks a frame that VOT's toolkit leaves out.
    """
    if (root / 'sequences').is_dir():
        root = root / 'sequences'
    listing = root / 'list.txt'
    if listing.is_file():
        # A sequence that is listed twice is read once.
        names = dict.fromkeys(map(str.strip, read_text(listing).splitlines()))
        folders = [root / name for name in names if name and not name.startswith('#')]
    else:
        folders = [path.parent for path in root.glob('*/groundtruth.txt')]

    def read(folder: Path) -> Clip:
        path = folder / 'groundtruth.txt'
        lines = [line for line in read_text(path).splitlines() if line.strip()]
        boxes = np.full((len(lines), 4), np.nan)
        for number, line in enumerate(lines):
            try:
                boxes[number] = vot_box(line)
            except ValueError as error:
                raise ValueError(f'{path}, line {number + 1}: {error}') from None
        colour = folder / 'color'
        images = image_files(colour if colour.is_dir() else folder)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 0)
        return clip_of(folder.name, images, boxes)

    return each_sequence(folders, read)


def vot_box(line: str) -> NDArray[np.float64]:
    """Return the box x y w h of a region in VOT's format; NaN for an unknown region.

    An empty region marks an absent target and becomes a box of no size. Raises ValueError.

    A region is one of: four numbers x y w h; six or more numbers, the points x y of a polygon; `m`
    and a mask, which is its window x y w h and then the lengths of its runs, in turn without and
    with the target, row by row. A single number, or a NaN, marks an unknown region.
    """
    mask = line.lstrip().startswith('m')
    words = re.split(r'[,;\s]+', line.strip().lstrip('m').strip(',;'))
    numbers = np.array([parse_number(word) for word in words])
    if mask and len(numbers) >= 4:
        return _mask_box(numbers)
    count = len(numbers)
    if mask or not (count in (1, 4) or (count >= 6 and count % 2 == 0)):
        raise ValueError(f'expected a box, a polygon or a mask, got {line.strip()[:40]}')
    if count == 1 or np.isnan(numbers).any():
        return np.full(4, np.nan)
    if count == 4:
        return numbers
    points = numbers.reshape(-1, 2)
    return np.concatenate([points.min(axis=0), points.max(axis=0) - points.min(axis=0)])


def _mask_box(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    usable = (np.abs(numbers) < 1 << 53) & (numbers == np.floor(numbers))
    if not usable.all():
        raise ValueError(
            f'a mask with the number {numbers[~usable][0]:g}: expected whole numbers below 2^53'
        )
    whole = numbers.astype(np.int64)
    x, y, width, height = whole[:4].tolist()
    runs = whole[4:]
    if width * height == 0:  # VOT's toolkit writes an absent target as m0,0,0,0,0,1
        return np.zeros(4)
    if not 0 < width * height <= MAX_IMAGE_PIXELS or width < 0:
        raise ValueError(
            f'a mask of {width} x {height}: expected at most {MAX_IMAGE_PIXELS} pixels'
        )
    # A sum of 64-bit integers may overflow and pass the check; np.repeat would then crash.
    end = runs.sum(dtype=np.float64)
    if (runs < 0).any() or end > width * height:
        raise ValueError(f'the runs of a mask of {width} x {height} end at {end:.0f}')
    # Only the ends of the runs are used: a line of 30 bytes may claim a hundred million pixels.
    ends = np.cumsum(runs)
    filled = np.flatnonzero((np.arange(len(runs)) % 2 == 1) & (runs > 0))
    if len(filled) == 0:
        return np.zeros(4)
    top, left = np.divmod(ends[filled] - runs[filled], width)
    bottom, right = np.divmod(ends[filled] - 1, width)
    several_rows = top < bottom
    left[several_rows], right[several_rows] = 0, width - 1
    extent = right.max() - left.min() + 1, bottom.max() - top.min() + 1
    return np.array([x + left.min(), y + top.min(), *extent], np.float64)
