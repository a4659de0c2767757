# SPDX-License-Identifier: Apache-2.0
"""Write tiny data sets in the layouts of the published ones."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Write = Callable[..., Path]


def touch(path: Path) -> Path:
    """Write an empty file in place of an image, for sequences of many images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def lasot(root: Path, write: Write, name: str = 'airplane-1', frames: int = 4) -> Path:
    folder = root / name.split('-')[0] / name
    for number in range(1, frames + 1):
        write(folder / 'img' / f'{number:08d}.jpg')
    text(folder / 'groundtruth.txt', '367,101,41,16\n' * frames)
    text(folder / 'full_occlusion.txt', ','.join(['0'] * frames))
    text(folder / 'out_of_view.txt', ','.join(['0'] * frames))
    text(folder / 'nlp.txt', 'a white airplane')
    return folder


def got10k(root: Path, write: Write, name: str = 'GOT-10k_Train_000001', frames: int = 3) -> Path:
    folder = root / 'train' / name
    for number in range(1, frames + 1):
        write(folder / f'{number:08d}.jpg')
    text(folder / 'groundtruth.txt', '347.0000,443.0000,429.0000,272.0000\n' * frames)
    for label, value in (('absence', '0'), ('cover', '8'), ('cut_by_image', '0')):
        text(folder / f'{label}.label', f'{value}\n' * frames)
    text(folder / 'meta_info.ini', '[METAINFO]')
    text(root / 'train' / 'list.txt', name)
    return folder


def got10k_test(root: Path, write: Write, name: str = 'GOT-10k_Test_000001') -> Path:
    """Write a sequence of the test split: one box for three images, and no labels."""
    folder = root / 'test' / name
    for number in (1, 2, 3):
        write(folder / f'{number:08d}.jpg')
    text(folder / 'groundtruth.txt', '347.0000,443.0000,429.0000,272.0000')
    text(root / 'test' / 'list.txt', name)
    return folder


def otb(
    root: Path,
    write: Write,
    name: str = 'Crossing',
    rows: Sequence[str] = ('205\t151\t17\t50',) * 3,
    images: Iterable[int] = (1, 2, 3),
    target: str = '',
) -> Path:
    for number in images:
        write(root / name / 'img' / f'{number:04d}.jpg')
    return text(root / name / f'groundtruth_rect{target}.txt', '\r\n'.join(rows) + '\r\n')


def uav123(
    root: Path,
    write: Write,
    name: str = 'boat1',
    frames: tuple[int, int] = (1, 3),
    folder: str = '',
    version: str = 'UAV123',
    images: str = '',
) -> Path:
    """Write images of these frames and as many boxes, of which the second is absent."""
    first, last = frames
    for number in range(first, last + 1):
        write(root / 'data_seq' / (images or version) / (folder or name) / f'{number:06d}.jpg')
    for file in ('configSeqs.m', 'ReadMe.txt'):
        text(root / file, '')
    rows = [f'{number},334.5,74,30' for number in range(first, last + 1)]
    rows[1] = 'NaN,NaN,NaN,NaN'
    return text(root / 'anno' / version / f'{name}.txt', '\n'.join(rows) + '\n')


def nfs(
    root: Path,
    write: Write,
    name: str = 'airtable_3',
    fps: int = 240,
    images: int = 16,
    boxes: int = 16,
    lost: Sequence[int] = (),
) -> Path:
    folder = root / name / str(fps)
    for number in range(1, images + 1):
        write(folder / name / f'{number:05d}.jpg')
    rows = (
        f'0 {400 + n} 200 {430 + 2 * n} 240 {n + 1} {int(n in lost)} 0 {n % 2} "ball"'
        for n in range(boxes)
    )
    return text(folder / f'{name}.txt', '\n'.join(rows) + '\n')


def vot(
    root: Path,
    write: Write,
    name: str = 'ants1',
    rows: Sequence[str] = ('137.21,458.36,156.83,460.78,148.9,525.61,129.28,523.19',) * 3,
    colour: str = 'color',
) -> Path:
    for number in range(1, len(rows) + 1):
        write(root / name / colour / f'{number:08d}.jpg')
    text(root / name / 'occlusion.tag', '0\n' * len(rows))
    listing = root / 'list.txt'
    before = listing.read_text() if listing.is_file() else ''
    text(listing, f'{before}{name}\n')
    return text(root / name / 'groundtruth.txt', '\n'.join(rows) + '\n')


def mask_line(mask: np.ndarray, offset: tuple[int, int]) -> str:
    """Return a mask in the format of VOT: lengths of runs, alternately outside and inside."""
    pixels = mask.ravel()
    runs = np.diff([0, *np.flatnonzero(np.diff(pixels)) + 1, pixels.size]).tolist()
    numbers = [*offset, mask.shape[1], mask.shape[0], *([0] if pixels[0] else []), *runs]
    return 'm' + ','.join(map(str, numbers))


def trackingnet(root: Path, write: Write, name: str = 'rg_1u0', frames: int = 12) -> Path:
    part = root / 'TRAIN_3'
    for number in range(frames):
        write(part / 'frames' / name / f'{number}.jpg')
    rows = (f'{number}.0,77.59,76.0,168.0' for number in range(frames))
    return text(part / 'anno' / f'{name}.txt', '\n'.join(rows))


def trackingnet_test(root: Path, write: Write, name: str = '0-6LB4FqxoE_0') -> Path:
    """Write a sequence of the test split: one box for eleven images."""
    for number in range(11):
        write(root / 'TEST' / 'frames' / name / f'{number}.jpg')
    return text(root / 'TEST' / 'anno' / f'{name}.txt', '77,59,76,168\n')


def coco(root: Path, write: Write) -> Path:
    for number in (1, 2):
        write(root / 'train2017' / f'{number:012d}.jpg')
    items: list[dict[str, Any]] = [
        {'id': 10, 'image_id': 1, 'bbox': [1.5, 2, 10, 12], 'iscrowd': 0, 'category_id': 1},
        {'id': 11, 'image_id': 1, 'bbox': [0, 0, 20, 20], 'iscrowd': 1, 'category_id': 1},
        {'id': 12, 'image_id': 2, 'bbox': [3, 4, 5, 6], 'iscrowd': 0, 'category_id': 2},
        {'id': 13, 'image_id': 2, 'bbox': [3, 4, 1, 6], 'iscrowd': 0, 'category_id': 2},
        {'id': 14, 'image_id': 9, 'bbox': [3, 4, 5, 6], 'iscrowd': 0, 'category_id': 2},
    ]
    images = [{'id': n, 'file_name': f'{n:012d}.jpg', 'height': 24, 'width': 32} for n in (1, 2)]
    content = {'images': images, 'annotations': items, 'categories': []}
    return text(root / 'annotations' / 'instances_train2017.json', json.dumps(content))


def indexed_png(path: Path, indices: np.ndarray) -> None:
    """Write a mask as DAVIS 2017 does: a PNG of indices into a palette of colours."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack('>I', zlib.crc32(kind + content))
        return struct.pack('>I', len(content)) + kind + content + check

    height, width = indices.shape
    palette = bytes([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    rows = b''.join(b'\0' + row.tobytes() for row in indices.astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 3, 0, 0, 0))
        + chunk(b'PLTE', palette)
        + chunk(b'IDAT', zlib.compress(rows))
        + chunk(b'IEND', b'')
    )
