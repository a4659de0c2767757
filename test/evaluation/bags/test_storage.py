# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import BEGIN, CAMERA, BagWriter, raw_image, write_bag
from rosbags.rosbag2 import Reader

from hcat_ros.evaluation.bags.message_types import IMAGE, decoded
from hcat_ros.evaluation.bags.storage import Scratch, StorageFile, is_storage
from hcat_ros.message_data import nanoseconds

PIXELS = np.zeros((8, 10, 3), np.uint8)


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    made = Scratch()
    yield made
    made.close()


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('a.mcap', True),
        ('a.db3', True),
        ('a.db3.zstd', True),
        ('a.mcap.zstd', True),
        ('metadata.yaml', False),
        ('a.zstd', False),
        ('a.bag', False),
        ('a.db3-wal', False),
    ],
)
def test_which_files_are_a_bags(name: str, expected: bool) -> None:
    assert is_storage(Path(name)) == expected


def test_one_file_is_unpacked_at_a_time(tmp_path: Path, scratch: Scratch) -> None:
    packed = [
        write_bag(tmp_path / name, [PIXELS], packed='file') / f'{name}.mcap.zstd' for name in 'ab'
    ]
    first = scratch.file(packed[0])
    assert first.read_bytes()[:5] == b'\x89MCAP'
    assert scratch.file(packed[0]) == first
    second = scratch.file(packed[1])
    assert second.exists()
    assert not first.exists()
    assert scratch.file(packed[0]).exists()
    plain = tmp_path / 'c.mcap'
    assert scratch.file(plain) == plain
    scratch.close()
    assert not first.exists()


def stamps(file: StorageFile, *times: int | None) -> list[int]:
    found = file.messages([CAMERA], *times)
    return [nanoseconds(decoded(message.data, IMAGE).header.stamp) for message in found]


@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
@pytest.mark.parametrize('after', range(8))
def test_a_reading_that_fails_goes_on_where_it_was(
    tmp_path: Path,
    scratch: Scratch,
    monkeypatch: pytest.MonkeyPatch,
    storage: str,
    after: int,
) -> None:
    """No message twice and none left out, also where several have the same time."""
    times = [1, 2, 2, 2, 3, 4, 4]
    with BagWriter(tmp_path / 'walk', storage) as bag:
        for number, time in enumerate(times):
            bag.add(CAMERA, BEGIN + time, raw_image(number, PIXELS))
    read = Reader.messages

    def failing(self: Any, *arguments: Any, **named: Any) -> Iterator[Any]:
        for number, message in enumerate(read(self, *arguments, **named)):
            if number == after:
                raise RuntimeError('a broken disk')
            yield message

    monkeypatch.setattr(Reader, 'messages', failing)
    path = next(path for path in (tmp_path / 'walk').iterdir() if is_storage(path))
    file = StorageFile(path, scratch)
    assert stamps(file) == list(range(7))
    expected = ['read record by record (a broken disk)'] if after < 7 else []
    assert file.damage == expected
    assert stamps(file) == list(range(7))
    assert file.damage == expected


@pytest.mark.parametrize('damaged', [False, True])
@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
def test_a_span_of_time(tmp_path: Path, scratch: Scratch, storage: str, damaged: bool) -> None:
    with BagWriter(tmp_path / 'walk', storage) as bag:
        for number in range(6):
            bag.add(CAMERA, BEGIN + number, raw_image(number, PIXELS))
    path = next(path for path in (tmp_path / 'walk').iterdir() if is_storage(path))
    if damaged and storage == 'mcap':
        path.write_bytes(path.read_bytes()[:-20])
    file = StorageFile(path, scratch)
    assert bool(file.damage) == (damaged and storage == 'mcap')
    assert stamps(file, BEGIN + 2, BEGIN + 4) == [2, 3]
    assert stamps(file, BEGIN + 4) == [4, 5]
    assert stamps(file, None, BEGIN + 1) == [0]
    assert stamps(file, BEGIN + 9, BEGIN + 10) == []


def test_an_mcap_that_another_program_made(
    tmp_path: Path, scratch: Scratch, picture: Callable[..., np.ndarray]
) -> None:
    """Without chunks, without a profile, and with a topic that has nothing to do with ROS."""
    from mcap.writer import CompressionType, Writer

    from hcat_ros.evaluation.bags.message_types import encoded, typestore

    path = tmp_path / 'other.mcap'
    for options in (
        {'use_chunking': False},
        {'compression': CompressionType.LZ4},
        {'compression': CompressionType.ZSTD, 'use_statistics': False},
    ):
        with path.open('wb') as target:
            writer = Writer(target, **options)  # type: ignore[arg-type]
            writer.start()
            text = typestore().generate_msgdef(IMAGE, ros_version=2)[0].encode()
            schema = writer.register_schema(IMAGE, 'ros2msg', text)
            camera = writer.register_channel(CAMERA, 'cdr', schema)
            other = writer.register_schema('Log', 'jsonschema', b'{}')
            log = writer.register_channel('/log', 'json', other)
            for number in range(4):
                data = bytes(encoded(raw_image(number, picture(60, 80, number))))
                writer.add_message(camera, BEGIN + number, data, BEGIN + number)
                writer.add_message(log, BEGIN + number, b'{}', BEGIN + number)
            writer.finish()
        file = StorageFile(path, scratch)
        assert stamps(file) == [0, 1, 2, 3]
        assert file.topics[CAMERA].count == 4
        assert len(file.damage) == 1  # why it was not read by its index, and nothing else
