# SPDX-License-Identifier: Apache-2.0
"""Writes tiny data sets in their true layouts."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Write = Callable[..., Path]


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


def trackingnet(root: Path, write: Write, name: str = 'rg_1u0', frames: int = 12) -> Path:
    part = root / 'TRAIN_3'
    for number in range(frames):
        write(part / 'frames' / name / f'{number}.jpg')
    rows = (f'{number}.0,77.59,76.0,168.0' for number in range(frames))
    return text(part / 'anno' / f'{name}.txt', '\n'.join(rows))


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
    """Writes a mask as DAVIS 2017 does: a PNG of indices into a palette of colours."""

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
