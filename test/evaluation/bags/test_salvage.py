# SPDX-License-Identifier: Apache-2.0
"""Bags that are truncated, damaged on disk, or crafted to be invalid."""

from __future__ import annotations

import sqlite3
import struct
import tracemalloc
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

import zstandard
from bags import BEGIN, CAMERA, SECOND, BagWriter, raw_image, stamps_of, write_bag

from hcat_ros.evaluation.bags.message_types import IMAGE
from hcat_ros.evaluation.bags.reading import METADATA, open_bag

COUNT = 12
KINDS = [
    {'storage': 'sqlite3'},
    {'storage': 'sqlite3', 'packed': 'file'},
    {'storage': 'mcap'},
    {'storage': 'mcap', 'packed': 'file'},
    {'storage': 'mcap', 'packed': 'storage'},
]


def named(kind: dict[str, str]) -> str:
    return '-'.join(kind.values())


every_kind = pytest.mark.parametrize('kind', KINDS, ids=named)


@pytest.fixture(scope='module')
def images() -> list[np.ndarray]:
    """Images of noise, which cannot be compressed; two of them fill a chunk."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (480, 400, 3), np.uint8) for _ in range(COUNT)]


@pytest.fixture(scope='module')
def bags(tmp_path_factory: pytest.TempPathFactory, images: list[np.ndarray]) -> dict[str, bytes]:
    """The bytes of the storage file of each kind of bag, by the name of the kind."""
    folder = tmp_path_factory.mktemp('bags')
    content = {}
    for kind in KINDS:
        path = write_bag(folder / named(kind), images, **kind)
        file = next(file for file in path.iterdir() if file.name != METADATA)
        content[named(kind)] = file.read_bytes()
    return content


def suffix(kind: dict[str, str]) -> str:
    end = '.mcap' if kind['storage'] == 'mcap' else '.db3'
    return f'{end}.zstd' if kind.get('packed') == 'file' else end


def read(path: Path, images: list[np.ndarray]) -> tuple[list[int], list[str]]:
    """Return the numbers of the readable images, checked to be intact, and the findings."""
    stamps = stamps_of(COUNT)
    with open_bag(path) as bag:
        if CAMERA not in bag.topics:
            return [], list(bag.findings)
        numbers = []
        for frame in bag.frames(bag.topics[CAMERA]):
            numbers.append(stamps.index(frame.stamp))
            assert np.array_equal(frame.image, images[numbers[-1]])
        return numbers, list(bag.findings)


@every_kind
@pytest.mark.parametrize('share', [0.0, 0.001, 0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_read_up_to_the_cut(
    tmp_path: Path, images: list[np.ndarray], bags: dict[str, bytes], kind: dict, share: float
) -> None:
    whole = bags[named(kind)]
    path = tmp_path / f'walk{suffix(kind)}'
    path.write_bytes(whole[: int(share * len(whole))])
    numbers, findings = read(path, images)
    assert numbers == list(range(len(numbers)))
    # Two images make a chunk; a truncated compressed file also loses its last block.
    assert len(numbers) >= int(share * COUNT) - 3
    assert findings
    assert all(finding.startswith(path.name) for finding in findings)
    if share >= 0.3:
        assert 'read' in ' '.join(findings)


@every_kind
@pytest.mark.parametrize('place', [0.1, 0.4, 0.75])
def test_a_file_with_a_hole_is_read_around_it(
    tmp_path: Path, images: list[np.ndarray], bags: dict[str, bytes], kind: dict, place: float
) -> None:
    """Images before the hole are read, and those after it unless the file is compressed."""
    content = bytearray(bags[named(kind)])
    begin = int(place * len(content))
    content[begin : begin + 5000] = bytes(5000)
    path = tmp_path / f'walk{suffix(kind)}'
    path.write_bytes(content)
    stamps = stamps_of(COUNT)
    with open_bag(path) as bag:
        found = {}
        for frame in bag.frames(bag.topics[CAMERA]):
            number = stamps.index(frame.stamp)
            found[number] = np.array_equal(frame.image, images[number])
        findings = ' '.join(bag.findings)
    # Most recorders write no checksum, so a hole in raw pixels cannot be detected.
    assert sum(not whole for whole in found.values()) <= 1
    assert sum(found.values()) >= (COUNT * place - 3 if kind.get('packed') == 'file' else COUNT - 3)
    if len(found) < COUNT:
        assert findings


@pytest.mark.parametrize('kind', KINDS, ids=named)
@given(data=st.data())
@settings(max_examples=12)
def test_corrupted_bytes_never_raise_an_exception(
    tmp_path_factory: pytest.TempPathFactory,
    bags: dict[str, bytes],
    kind: dict,
    data: st.DataObject,
) -> None:
    content = bytearray(bags[named(kind)])
    for _ in range(data.draw(st.integers(1, 4))):
        # The header and the index are at the beginning and the end of a file.
        edge = data.draw(st.sampled_from([0, len(content) - 3000, 0]))
        place = edge + data.draw(st.integers(0, 2999 if edge or len(content) > 3000 else 99))
        if data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 8] = data.draw(st.binary(min_size=1, max_size=8))
    path = tmp_path_factory.mktemp('fuzz') / f'walk{suffix(kind)}'
    path.write_bytes(content)
    with open_bag(path) as bag:
        topics = [topic for topic in bag.topics.values() if topic.name == CAMERA]
        count = sum(1 for topic in topics for _ in bag.frames(topic))
        assert count <= COUNT + 1
        # More than half is lost only if the list of topics or the compression is damaged.
        assert count >= COUNT / 2 or list(bag.findings)
    path.unlink()


def test_the_metadata_count_shows_how_many_messages_are_lost(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    path = write_bag(tmp_path / 'walk', images)
    file = path / 'walk.mcap'
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with open_bag(path) as bag:
        topic = bag.image_topic()
        assert topic.count == COUNT
        read = len(list(bag.frames(topic)))
        text = '\n'.join(bag.findings)
    assert 4 <= read <= 6
    assert 'walk.mcap: read record by record (File end magic is invalid' in text
    assert 'the file is cut off' in text
    assert f'{CAMERA}: read {read} of {COUNT} messages, the last 0.1' in text


def test_a_message_in_a_chunk_with_a_wrong_checksum_is_left_out(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    """The writer of the mcap package adds checksums, and `ros2 bag` can be set to do so."""
    from mcap.writer import CompressionType, Writer

    path = write_bag(tmp_path / 'walk', images)
    from mcap.reader import make_reader

    file = tmp_path / 'checked.mcap'
    with (path / 'walk.mcap').open('rb') as source, file.open('wb') as target:
        writer = Writer(target, compression=CompressionType.NONE)
        writer.start('ros2')
        number = None
        for schema, channel, message in make_reader(source).iter_messages():
            if number is None:
                assert schema is not None
                schema_id = writer.register_schema(schema.name, schema.encoding, schema.data)
                number = writer.register_channel(channel.topic, 'cdr', schema_id, channel.metadata)
            writer.add_message(number, message.log_time, message.data, message.publish_time)
        writer.finish()
    assert read(file, images)[0] == list(range(COUNT))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    numbers, findings = read(file, images)
    assert COUNT - 3 <= len(numbers) < COUNT
    assert numbers == sorted(numbers)
    text = '\n'.join(findings)
    assert 'Chunk checksum mismatch' in text
    assert 'is damaged (crc validation failed' in text


def test_a_damaged_database_row_is_left_out(tmp_path: Path, images: list[np.ndarray]) -> None:
    path = write_bag(tmp_path / 'walk', images, storage='sqlite3') / 'walk.db3'
    with closing(sqlite3.connect(path)) as database:
        (size,) = database.execute('PRAGMA page_size').fetchone()
        (number,) = database.execute('SELECT rootpage FROM sqlite_master WHERE name = "messages"')
        root = number[0]
    content = bytearray(path.read_bytes())
    # The chain of a row's pages begins somewhere in the middle of the file.
    place = len(content) // 2 // size * size
    assert place // size + 1 != root
    content[place : place + 4] = b'\xff\xff\xff\xff'
    path.write_bytes(content)
    numbers, findings = read(path, images)
    assert numbers == sorted(numbers)
    assert COUNT - 2 <= len(numbers) < COUNT
    assert 'rows between others cannot be read' in '\n'.join(findings)


def test_a_path_with_special_characters_of_sqlite_is_read(
    tmp_path: Path, images: list[np.ndarray]
) -> None:
    path = write_bag(tmp_path / 'walk', images[:3], storage='sqlite3')
    path = path.rename(tmp_path / 'run #3 (100%?)')
    assert read(path, images)[0] == [0, 1, 2]


def test_messages_of_a_bag_without_index_are_sorted(tmp_path: Path) -> None:
    small = np.zeros((8, 8, 3), np.uint8)
    for storage, end in (('mcap', 'mcap'), ('sqlite3', 'db3')):
        with BagWriter(tmp_path / storage, storage) as bag:
            for number in (0, 2, 1, 3):
                stamp = BEGIN + number * SECOND
                bag.add(CAMERA, stamp, raw_image(stamp, small))
        file = tmp_path / storage / f'{storage}.{end}'
        file.write_bytes(file.read_bytes()[:-8])
        with open_bag(file) as bag:
            stamps = [frame.stamp - BEGIN for frame in bag.frames(bag.topics[CAMERA])]
        if storage == 'mcap':  # in one chunk
            assert stamps == [0, SECOND, 2 * SECOND, 3 * SECOND]


@pytest.mark.parametrize('indexed', [True, False])
@pytest.mark.parametrize('stated', [True, False])
def test_a_chunk_that_unpacks_beyond_its_stated_size_takes_little_memory(
    tmp_path: Path, indexed: bool, stated: bool
) -> None:
    """The compressed bytes of the chunk are replaced; the index keeps its positions."""
    small = np.zeros((8, 8, 3), np.uint8)
    path = write_bag(tmp_path / 'walk', [small] * 2000, packed='storage') / 'walk.mcap'
    content = path.read_bytes()
    place = content.index(b'\x04\0\0\0zstd') + 8
    (length,) = struct.unpack('<Q', content[place : place + 8])
    bomb = zstandard.ZstdCompressor(write_content_size=stated).compress(bytes(256 << 20))
    assert len(bomb) <= length, 'it has to fit where the chunk is'
    # Zstandard skips a skippable frame, which fills the rest of the chunk.
    rest = length - len(bomb)
    assert rest >= 8
    bomb += struct.pack('<II', 0x184D2A50, rest - 8) + bytes(rest - 8)
    content = content[: place + 8] + bomb + content[place + 8 + length :]
    path.write_bytes(content if indexed else content[:-8])
    tracemalloc.start()
    with open_bag(path) as bag:
        if CAMERA in bag.topics:
            assert list(bag.frames(bag.topics[CAMERA])) == []
        findings = ' '.join(bag.findings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 'is damaged (it unpacks to more than' in findings
    assert peak < 64 << 20


def test_a_chunk_of_many_empty_messages_takes_little_memory(tmp_path: Path) -> None:
    """Fifteen million messages of 31 bytes each fit into 43 KB."""
    path = tmp_path / 'bomb.mcap'
    message = struct.pack('<BQHIQQ', 5, 22, 1, 0, 0, 0)
    path.write_bytes(mcap_of_one_chunk(message * 3_000_000))
    assert path.stat().st_size < 20_000
    tracemalloc.start()
    with open_bag(path) as bag:
        findings = ' '.join(bag.findings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f'claims to unpack to {31 * 3_000_000 + CHANNEL_BYTES}, more than {64 << 20}' in findings
    assert peak < 16 << 20


def test_more_messages_than_bytes_are_not_read(tmp_path: Path) -> None:
    """Two million messages, which take a minute, fit into 7 KB and into a chunk of 62 MB."""
    path = tmp_path / 'bomb.mcap'
    message = struct.pack('<BQHIQQ', 5, 22, 1, 0, 0, 0)
    path.write_bytes(mcap_of_one_chunk(message * 200_000, listed=2))
    assert path.stat().st_size < 20_000
    with open_bag(path) as bag:
        assert 'it has more messages than bytes' in ' '.join(bag.findings)
        assert bag.topics[CAMERA].count == 0


def test_a_chunk_that_the_index_lists_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / 'twice.mcap'
    message = struct.pack('<BQHIQQ', 5, 22, 1, 0, 0, 0)
    path.write_bytes(mcap_of_one_chunk(message * 10, listed=20))
    with open_bag(path) as bag:
        assert len(list(bag.messages([CAMERA]))) == 10
        assert 'its index lists a chunk twice' in ' '.join(bag.findings)


def _record(kind: int, *parts: bytes) -> bytes:
    content = b''.join(parts)
    return struct.pack('<BQ', kind, len(content)) + content


def _text(text: str) -> bytes:
    return struct.pack('<I', len(text)) + text.encode()


EMPTY = struct.pack('<I', 0)
CHANNEL = _record(3, struct.pack('<H', 1), _text(IMAGE), _text('ros2msg'), EMPTY) + _record(
    4, struct.pack('<HH', 1, 1), _text(CAMERA), _text('cdr'), EMPTY
)
"""The records of MCAP that declare channel 1."""
CHANNEL_BYTES = len(CHANNEL)


def mcap_of_one_chunk(messages: bytes, listed: int = 1) -> bytes:
    """Return an MCAP file with one compressed chunk. listed: how often the index lists it."""
    packed = zstandard.compress(CHANNEL + messages)
    size = len(CHANNEL + messages)
    start = b'\x89MCAP0\r\n' + _record(1, _text('ros2'), _text(''))
    chunk = _record(
        6,
        struct.pack('<QQQI', 0, 0, size, 0),
        _text('zstd'),
        struct.pack('<Q', len(packed)),
        packed,
    )
    index = _record(
        8,
        struct.pack('<QQQQIQ', 0, 0, len(start), len(chunk), 0, 0),
        _text('zstd'),
        struct.pack('<QQ', len(packed), size),
    )
    data = start + chunk + _record(15, struct.pack('<I', 0))
    statistics = _record(11, struct.pack('<QHIIIIQQI', 0, 1, 1, 0, 0, listed, 0, 0, 0))
    return (
        data
        + CHANNEL
        + index * listed
        + statistics
        + _record(2, struct.pack('<QQI', len(data), 0, 0))
        + b'\x89MCAP0\r\n'
    )
