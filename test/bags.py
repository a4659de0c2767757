# SPDX-License-Identifier: Apache-2.0
"""Writes rosbags as cameras, robots and labelling tools leave them behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import ArrayLike
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from hcat_ros.boxes import Box
from hcat_ros.evaluation.annotation_files import read_box_table
from hcat_ros.evaluation.bags.message_types import (
    COMPRESSED,
    IMAGE,
    build_message,
    encode_message,
    header,
    typestore,
)
from hcat_ros.evaluation.bags.output import detection
from hcat_ros.frames import FrameSource
from hcat_ros.tracking.encodings import encoding_named

SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND
"""Stamp of the first image."""
DELAY = SECOND // 200
"""Time from an image's stamp to its recording, nanoseconds."""
CAMERA = '/camera/image'


class BagWriter:
    """A new bag; messages are added by topic, topics are added on their first message.

    storage: 'sqlite3' or 'mcap'. packed: '', 'file' (zstd, the file as a whole), 'message' (zstd,
    each message) or 'storage' (zstd, MCAP's chunks). definitions: whether the bag holds
    its message definitions, as SQLite bags do since Iron.
    """

    def __init__(
        self, path: Path, storage: str = 'mcap', packed: str = '', definitions: bool = True
    ) -> None:
        self.path = path
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()])
        if packed:
            self._writer.set_compression(CompressionMode[packed.upper()], CompressionFormat.ZSTD)
        self._connections: dict[str, Any] = {}
        self._definitions = definitions

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)
        if not self._definitions and error[0] is None:
            _as_humble(self.path)

    def add(self, topic: str, log_time: int, message: Any, data: bytes | None = None) -> None:
        """Adds a message. data: bytes to write instead of the encoded message."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, message.__msgtype__, typestore=typestore()
            )
        content = encode_message(message) if data is None else data
        self._writer.write(self._connections[topic], log_time, content)


def _as_humble(folder: Path) -> None:
    """Removes the tables and fields that Humble does not write from an SQLite bag."""
    with closing(sqlite3.connect(folder / f'{folder.name}.db3')) as database:
        database.executescript(
            'DROP TABLE message_definitions; DROP TABLE schema; DROP TABLE metadata;'
            'ALTER TABLE topics DROP COLUMN type_description_hash; VACUUM;'
        )
    path = folder / 'metadata.yaml'
    content = yaml.safe_load(path.read_text())
    bag = content['rosbag2_bagfile_information']
    bag['version'] = 5
    del bag['custom_data'], bag['ros_distro']
    for topic in bag['topics_with_message_count']:
        del topic['topic_metadata']['type_description_hash']
    path.write_text(yaml.safe_dump(content))


def raw_image(stamp: int, pixels: np.ndarray, encoding: str = 'bgr8') -> Any:
    """An Image message of these pixels, unconverted. stamp: nanoseconds."""
    height, width = pixels.shape[:2]
    return build_message(
        IMAGE,
        header=header(stamp, 'camera'),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * (encoding_named(encoding).channels if pixels.dtype == np.uint8 else 2),
        data=np.ascontiguousarray(pixels).view(np.uint8).ravel(),
    )


def packed_image(stamp: int, pixels: np.ndarray, kind: str = 'jpeg') -> Any:
    """A CompressedImage, 'jpeg' or 'png'."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if kind == 'jpeg' else []
    data = cv2.imencode(f'.{kind}', pixels, options)[1]
    return build_message(COMPRESSED, header=header(stamp, 'camera'), format=kind, data=data.ravel())


def stamps_of(count: int, fps: float = 30.0) -> list[int]:
    """Stamps of `count` frames at a constant rate, nanoseconds."""
    return [BEGIN + round(number * SECOND / fps) for number in range(count)]


def write_bag(
    path: Path,
    images: Iterable[np.ndarray],
    *,
    stamps: Sequence[int] | None = None,
    kind: str = 'bgr8',
    topic: str = CAMERA,
    init_box: Sequence[float] | None = None,
    truth: ArrayLike | None = None,
    **options: Any,
) -> Path:
    """Writes BGR images with their stamps.

    kind: a raw encoding in BGR order or grey, or 'jpeg' or 'png' for compressed images. init_box:
    x, y, w, h, sent to /init_box on the first image. truth: (n, 4), sent to /truth, NaN rows left
    out. options: arguments of `BagWriter`.
    """
    compressed = kind in ('jpeg', 'png')
    with BagWriter(path, **options) as bag:
        for number, image in enumerate(images):
            stamp = stamps[number] if stamps else BEGIN + round(number * SECOND / 30)
            log_time = BEGIN + round(number * SECOND / 30) + DELAY
            if compressed:
                bag.add(f'{topic}/compressed', log_time, packed_image(stamp, image, kind))
            else:
                grey = kind == 'mono8' and image.ndim == 3
                pixels = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if grey else image
                bag.add(topic, log_time, raw_image(stamp, pixels, kind))
            if number == 0 and init_box is not None:
                bag.add('/init_box', log_time + 1000, detection(stamp, 'camera', Box(*init_box)))
            if truth is not None:
                box = Box(*np.asarray(truth, np.float64)[number].tolist())
                if np.isfinite(box).all():
                    bag.add('/truth', log_time + 2000, detection(stamp, 'camera', box))
    return path


def write_sequence_bag(path: Path, sequence: Path, count: int = 0, **options: Any) -> Path:
    """Writes a folder of images with a groundtruth.txt; the first box is sent to /init_box.

    count: number of images from the first on, 0 for all. options: arguments of `write_bag` and
    `BagWriter`.
    """
    truth = read_box_table(sequence / 'groundtruth.txt')
    source = FrameSource(str(sequence), count=count)
    images = (frame.image for frame in source)
    options = {'init_box': truth[0].tolist(), 'truth': truth, **options}
    return write_bag(path, images, **options)
