# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

zstandard = pytest.importorskip('zstandard', reason="needs pip install 'hcat_ros[evaluate]'")
pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import BEGIN, CAMERA, BagWriter, raw_image, write_bag
from rosbags.rosbag2 import Reader

from hcat_ros.evaluation.bags import storage
from hcat_ros.evaluation.bags.message_types import IMAGE, decode_message
from hcat_ros.evaluation.bags.storage import Scratch, StorageFile, is_storage
from hcat_ros.message_data import nanoseconds

PIXELS = np.zeros((8, 10, 3), np.uint8)


ENDLESS = 'WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)'
"""Start of an SQL query with rows without end."""


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
def test_storage_files_are_recognised_by_name(name: str, expected: bool) -> None:
    assert is_storage(Path(name)) == expected


def test_only_one_unpacked_file_exists_at_a_time(tmp_path: Path, scratch: Scratch) -> None:
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
    return [nanoseconds(decode_message(message.data, IMAGE).header.stamp) for message in found]


@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
@pytest.mark.parametrize('after', range(8))
def test_reading_resumes_after_an_error_without_loss_or_repetition(
    tmp_path: Path,
    scratch: Scratch,
    monkeypatch: pytest.MonkeyPatch,
    storage: str,
    after: int,
) -> None:
    """No message is repeated or left out, even if several have the same time."""
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
def test_messages_are_read_within_a_span_of_time(
    tmp_path: Path, scratch: Scratch, storage: str, damaged: bool
) -> None:
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


def test_an_mcap_file_of_another_program_is_read(
    tmp_path: Path, scratch: Scratch, picture: Callable[..., np.ndarray]
) -> None:
    """The files have no chunks or no statistics, no profile, and a topic that is not of ROS."""
    from mcap.writer import CompressionType, Writer

    from hcat_ros.evaluation.bags.message_types import encode_message, typestore

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
                data = bytes(encode_message(raw_image(number, picture(60, 80, number))))
                writer.add_message(camera, BEGIN + number, data, BEGIN + number)
                writer.add_message(log, BEGIN + number, b'{}', BEGIN + number)
            writer.finish()
        file = StorageFile(path, scratch)
        assert stamps(file) == [0, 1, 2, 3]
        assert file.topics[CAMERA].count == 4
        # The only entry is why the index was not used.
        assert len(file.damage) == ('use_chunking' not in options)


@pytest.mark.parametrize('chunks', [True, False])
def test_an_mcap_file_out_of_order_is_read_in_full_and_sorted(
    tmp_path: Path, scratch: Scratch, chunks: bool
) -> None:
    """A writer may keep the order of arrival, which differs from the order of time."""
    from mcap.writer import Writer

    path, order = tmp_path / 'other.mcap', [0, 1, 2, 5, 3, 4, 9, 8, 7, 6]
    with path.open('wb') as target:
        writer = Writer(target, use_chunking=chunks)
        writer.start(profile='ros2')
        schema = writer.register_schema(IMAGE, 'ros2msg', b'uint8 x')
        camera = writer.register_channel(CAMERA, 'cdr', schema)
        for number in order:
            writer.add_message(camera, BEGIN + number, bytes([0, 1, 0, 0, number]), BEGIN + number)
        writer.finish()
    file = StorageFile(path, scratch)
    found = list(file.messages([CAMERA]))
    assert [message.log_time - BEGIN for message in found] == list(range(10))
    assert [bytes(message.data)[4] for message in found] == list(range(10))
    assert file.damage == []
    some = file.messages([CAMERA], BEGIN + 3, BEGIN + 6)
    assert [message.log_time - BEGIN for message in some] == [3, 4, 5]


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'git lfs pull'),
        (b'<!DOCTYPE html><html>', 'is an HTML page'),
        (b'#ROSBAG V2.0\n', 'rosbags-convert'),
        (b'', 'is empty'),
    ],
)
def test_files_that_are_not_a_bag_are_identified(
    tmp_path: Path, scratch: Scratch, content: bytes, reason: str
) -> None:
    path = tmp_path / 'walk.mcap'
    path.write_bytes(content)
    file = StorageFile(path, scratch)
    (text,) = file.damage
    assert text.startswith('nothing of it is read: ')
    assert reason in text
    assert list(file.messages([CAMERA])) == []


def test_an_mcap_file_of_ros_1_is_identified(tmp_path: Path, scratch: Scratch) -> None:
    """`mcap convert` makes such a file of a ROS 1 bag; its messages are in another format."""
    from mcap.writer import Writer

    path = tmp_path / 'walk.mcap'
    with path.open('wb') as target:
        writer = Writer(target)
        writer.start(profile='ros1')
        schema = writer.register_schema('sensor_msgs/Image', 'ros1msg', b'uint8 x')
        camera = writer.register_channel(CAMERA, 'ros1', schema)
        writer.add_message(camera, BEGIN, bytes(5), BEGIN)
        writer.finish()
    (text,) = StorageFile(path, scratch).damage
    assert 'its messages are of ROS 1; rosbags-convert --src FILE --dst FOLDER' in text


def test_a_database_whose_path_is_not_utf8_is_refused(tmp_path: Path, scratch: Scratch) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.db3'))
    with sqlite3.connect(os.fsencode(path)) as database:
        database.execute('CREATE TABLE topics (id, name, type, serialization_format)')
    with pytest.raises(ValueError, match=r'caf\\xe9\.db3: the name is not UTF-8; rename the file'):
        StorageFile(path, scratch)


@pytest.mark.parametrize(
    ('table', 'sql', 'reason'),
    [
        ('messages', f'VIEW messages AS {ENDLESS} SELECT id, 1, id, 0 FROM n', 'is no table'),
        (
            'message_definitions',
            f'VIEW message_definitions AS {ENDLESS} SELECT id, id AS topic_type, id AS encoding, '
            'id AS encoded_message_definition, id AS type_description_hash FROM n',
            'is no table',
        ),
        (
            'messages.data',
            'TABLE messages (id INTEGER PRIMARY KEY, topic_id, timestamp, '
            'data AS (zeroblob(900000000)))',
            'is a computed column, which may have gigabytes in each row',
        ),
    ],
)
def test_a_database_whose_rows_are_computed_is_refused(
    tmp_path: Path, scratch: Scratch, table: str, sql: str, reason: str
) -> None:
    """Rows without end, or of gigabytes, in a file of a few kilobytes."""
    path = tmp_path / 'walk.db3'
    with sqlite3.connect(path) as database:
        database.execute('CREATE TABLE topics (id, name, type, serialization_format)')
        database.execute('CREATE TABLE schema (schema_version)')
        database.execute('INSERT INTO schema VALUES (4)')
        database.execute(f'CREATE {sql}')
    file = StorageFile(path, scratch)
    assert f'{table} {reason}' in file.damage[0]
    assert list(file.messages([CAMERA])) == []


def test_a_compressed_file_beyond_the_size_limit_is_not_read(
    tmp_path: Path, scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, 'LARGEST_UNPACKED', 1 << 20)
    path = tmp_path / 'walk.mcap.zstd'
    path.write_bytes(zstandard.compress(bytes(1 << 26)))
    assert 1000 * path.stat().st_size < 1 << 23
    file = StorageFile(path, scratch)
    assert 'it unpacks to more than' in file.damage[0]
    assert 'too many for a bag of its size or for this disk' in file.damage[0]
