# SPDX-License-Identifier: Apache-2.0
"""Reads the undamaged parts of damaged bag files.

Each of the two classes first reads the whole file once. Its `topics` then count the readable
messages, `damage` describes what cannot be read, and `messages` yields messages nearly in the order
of recording: chunk by chunk, or row by row. `SalvagedMcap` also sorts undamaged files without
chunks.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

from mcap.exceptions import EndOfFile
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk
from mcap.summary import Summary

from hcat_ros.evaluation.bags.message_types import (
    StoredMessage,
    Topic,
    decompress_lz4,
    decompress_zstd,
)
from hcat_ros.files import check_name

MOST_MISSING = 50_000
"""Consecutive unreadable rows after which a database counts as ended: more than a damaged page of
its tree can hide."""

TABLES = ('messages', 'topics', 'message_definitions', 'schema')
"""Tables of a database that are read."""
LARGEST_CHUNK = 1 << 30
"""Largest size of an unpacked chunk of an MCAP file, bytes; a chunk is held in memory."""
LARGEST_RATIO = 1000
"""Largest ratio of an unpacked size to the packed size. Zstandard can reach 32,000; images of a
single colour, which no camera takes, reach some hundreds."""
CHUNK_AT_ANY_RATIO = 64 << 20
"""Size up to which a chunk is unpacked at any ratio, bytes."""
RECORDS_AT_ANY_SIZE = 100_000
"""Number of records, such as messages, in the chunks of a file up to which it may have more of them
than bytes; the times of messages alone take more than a byte each."""


class Salvaged(Protocol):
    """The readable content of a damaged file."""

    topics: dict[str, Topic]
    damage: list[str]

    def messages(self, names: Collection[str], start: int = 0) -> Iterator[StoredMessage]:
        """Yield the readable messages on these topics.

        Messages recorded before `start` may be among them; the caller has to drop them.
        """


def largest_chunk(packed: int) -> int:
    """Return the largest size to which a chunk of so many bytes may unpack."""
    return min(LARGEST_CHUNK, max(CHUNK_AT_ANY_RATIO, LARGEST_RATIO * packed))


def salvage(path: Path) -> Salvaged:
    """Return the readable content of a storage file, by its suffix. Raises OSError."""
    return SalvagedMcap(path) if path.suffix == '.mcap' else SalvagedSqlite(path)


class SalvagedMcap:
    """An MCAP file. Undamaged chunks are read; a damaged or cut chunk is skipped as a whole."""

    def __init__(self, path: Path) -> None:
        self.damage: list[str] = []
        self._path = path
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        counts = Counter(message.channel_id for message in self._scan(self.damage))
        self.topics: dict[str, Topic] = {}
        for number, channel in self._channels.items():
            schema = self._schemas.get(channel.schema_id)
            before = self.topics.get(channel.topic)
            count = counts.pop(number, 0) + (before.count if before else 0)
            self.topics[channel.topic] = Topic(channel.topic, schema.name if schema else '', count)
        if counts:
            self.damage.append(f'{sum(counts.values())} messages are on topics that have no name')

    def messages(self, names: Collection[str], start: int = 0) -> Iterator[StoredMessage]:
        """See `Salvaged`."""
        for message in self._scan([], start):
            channel = self._channels.get(message.channel_id)
            if channel is not None and channel.topic in names:
                yield StoredMessage(channel.topic, message.log_time, message.data)

    def messages_in_order(
        self, names: Collection[str], start: int | None, stop: int | None
    ) -> Iterator[StoredMessage]:
        """Yield the messages of a file without chunks by time, one at a time in memory."""
        size = self._path.stat().st_size
        places = []
        with self._path.open('rb') as stream:
            records = _reader(stream, size, at_start=True).records
            with suppress(Exception):  # of a damaged end, which `damage` describes
                place = 0
                for record in records:
                    if isinstance(record, Message):
                        channel = self._channels.get(record.channel_id)
                        within = (start is None or record.log_time >= start) and (
                            stop is None or record.log_time < stop
                        )
                        if channel is not None and channel.topic in names and within:
                            places.append((record.log_time, place))
                    place = stream.tell()
            for _, place in sorted(places):
                stream.seek(place)
                message = next(_reader(stream, size, at_start=False).records)
                assert isinstance(message, Message)
                topic = self._channels[message.channel_id].topic
                yield StoredMessage(topic, message.log_time, message.data)

    def _scan(self, damage: list[str], start: int = 0) -> Iterator[Message]:
        left = max(RECORDS_AT_ANY_SIZE, self._path.stat().st_size)
        with self._path.open('rb') as stream:
            for record in self._records(stream, damage):
                inside = [record]
                if isinstance(record, Chunk):
                    if record.message_end_time < start:
                        continue
                    if record.uncompressed_size > largest_chunk(len(record.data)):
                        damage.append(_claim(len(record.data), record.uncompressed_size))
                        continue
                    try:
                        chunk = _unpack_chunk(record)
                        left -= _count_records(chunk.data)
                        if left < 0:  # empty messages: 2 KB could hold millions, for minutes
                            damage.append('it has more messages than bytes, and is not read on')
                            return
                        inside = breakup_chunk(chunk, validate_crc=True)
                    except Exception as error:  # of the compression or of the records in it
                        damage.append(f'a chunk of {len(record.data)} bytes is damaged ({error})')
                        continue
                messages = []
                for part in inside:
                    if isinstance(part, Message):
                        messages.append(part)
                    elif isinstance(part, Channel):
                        self._channels[part.id] = part
                    elif isinstance(part, Schema):
                        self._schemas[part.id] = part
                yield from sorted(messages, key=lambda message: message.log_time)

    def _records(self, stream: BinaryIO, damage: list[str]) -> Iterator[McapRecord]:
        size = self._path.stat().st_size
        summary = _summary(stream)
        if summary is not None and summary.chunk_indexes:
            # The index leads to chunks that lie behind a damaged record.
            self._schemas.update(summary.schemas)
            self._channels.update(summary.channels)
            # A chunk that is listed twice is read once.
            chunks = {index.chunk_start_offset: index for index in summary.chunk_indexes}
            for index in sorted(chunks.values(), key=lambda index: index.message_start_time):
                stream.seek(index.chunk_start_offset)
                try:
                    yield next(_reader(stream, size, at_start=False).records)
                except Exception as error:
                    place = f'at byte {index.chunk_start_offset}'
                    damage.append(f'the chunk {place} is damaged ({_reason(error)})')
            return
        stream.seek(0)
        try:
            yield from _reader(stream, size, at_start=True).records
        except Exception as error:  # damaged bytes can raise any exception
            place = f'byte {stream.tell()} of {size}'
            damage.append(f'it can be read up to {place} ({_reason(error)})')


def _reader(stream: BinaryIO, size: int, at_start: bool) -> StreamReader:
    # A record that claims to be longer than the file would fill the memory.
    return StreamReader(
        stream, skip_magic=not at_start, emit_chunks=True, record_size_limit=max(size, 1)
    )


def _unpack_chunk(chunk: Chunk) -> Chunk:
    """Return a chunk without its compression.

    Raises ValueError if its size is not the one that it states, which `mcap` does not check.
    """
    unpack = {'zstd': decompress_zstd, 'lz4': decompress_lz4}.get(chunk.compression)
    if unpack is None:
        return chunk
    data = unpack(chunk.data, chunk.uncompressed_size)
    if len(data) != chunk.uncompressed_size:
        raise ValueError(f'it unpacks to {len(data)} bytes, not to {chunk.uncompressed_size}')
    return dataclasses.replace(chunk, compression='', data=data)


def _count_records(data: bytes) -> int:
    """Return the number of records in the data of an unpacked chunk."""
    count = place = 0
    while place < len(data):
        count += 1
        place += 9 + int.from_bytes(data[place + 1 : place + 9], 'little')
    return count


def _summary(stream: BinaryIO) -> Summary | None:
    try:
        return SeekingReader(stream).get_summary()
    except Exception:  # the file has no summary, or a damaged one
        return None


def objection(path: Path) -> str:
    """Return why a storage file cannot, or must not, be opened with `rosbags`; '' if it can.

    Raises ValueError for a database whose path is not UTF-8, which SQLite cannot open.
    """
    if path.suffix == '.mcap':
        with path.open('rb') as stream:
            summary = _summary(stream)
        chunks = summary.chunk_indexes if summary else []
        for chunk in chunks:
            if chunk.uncompressed_size > largest_chunk(chunk.compressed_size):
                return _claim(chunk.compressed_size, chunk.uncompressed_size)
        if len({chunk.chunk_start_offset for chunk in chunks}) < len(chunks):
            return 'its index lists a chunk twice'
        channels = summary.channels.values() if summary else ()
        if any(channel.message_encoding == 'ros1' for channel in channels):
            return (
                'its messages are of ROS 1; rosbags-convert --src FILE --dst FOLDER makes a bag of '
                'ROS 2 from the original .bag'
            )
        return ''
    check_name(path.absolute())
    try:
        with closing(_connect(path)) as database:
            kinds = dict(database.execute('SELECT name, type FROM sqlite_master'))
            columns = [
                (f'{table}.{column[1]}', column[6])  # its name, and whether it is hidden
                for table in TABLES
                for column in database.execute(f'PRAGMA table_xinfo({table})')
            ]
    except sqlite3.Error:
        return ''  # the damage is reported when the file is read
    if views := [table for table in TABLES if kinds.get(table, 'table') != 'table']:
        return f'{", ".join(views)} is no table: a view may have rows without end'
    if computed := [column for column, hidden in columns if hidden in (2, 3)]:
        return f'{", ".join(computed)} is a computed column, which may have gigabytes in each row'
    return ''


def _claim(packed: int, unpacked: int) -> str:
    return (
        f'a chunk of {packed} bytes claims to unpack to {unpacked}, more than '
        f'{largest_chunk(packed)}'
    )


def is_unindexed(path: Path) -> bool:
    """Return whether an undamaged MCAP file has no chunks: its messages may be in any order."""
    if path.suffix != '.mcap':
        return False
    with path.open('rb') as stream:
        summary = _summary(stream)
    return summary is not None and not summary.chunk_indexes


def _reason(error: Exception) -> str:
    if isinstance(error, (EndOfFile, StopIteration)):
        return 'the file is cut off'
    return str(error) or type(error).__name__


def _connect(path: Path) -> sqlite3.Connection:
    # An immutable database is opened without looking for a journal or writing one.
    return sqlite3.connect(f'file:{quote(str(path.absolute()))}?mode=ro&immutable=1', uri=True)


class SalvagedSqlite:
    """An SQLite database. Each row that can be reached by its number is read."""

    def __init__(self, path: Path) -> None:
        self.topics: dict[str, Topic] = {}
        self.damage: list[str] = []
        self._path = path
        self._names: dict[int, tuple[str, str]] = {}
        self._end = 2**63 - 1
        """Number of the last row that can be read."""
        try:
            with closing(self._open()) as database:
                rows = database.execute('SELECT id, name, type FROM topics').fetchall()
        except sqlite3.Error as error:
            self.damage.append(f'its list of topics cannot be read ({error})')
            return
        self._names = {number: (name, kind) for number, name, kind in rows}
        counts = Counter(number for number, _, _ in self._rows(self.damage))
        for number, (name, kind) in self._names.items():
            before = self.topics.get(name)
            count = counts[number] + (before.count if before else 0)
            self.topics[name] = Topic(name, kind, count)

    def messages(self, names: Collection[str], start: int = 0) -> Iterator[StoredMessage]:
        """See `Salvaged`."""
        wanted = {number: name for number, (name, _) in self._names.items() if name in names}
        for number, log_time, data in self._rows([]):
            if number in wanted and log_time >= start:
                yield StoredMessage(wanted[number], log_time, data)

    def _open(self) -> sqlite3.Connection:
        database = _connect(self._path)
        # Otherwise SQLite reads nothing from a file that is shorter than its first page states.
        database.execute('PRAGMA writable_schema = ON')
        return database

    def _rows(self, damage: list[str]) -> Iterator[tuple[int, int, bytes]]:
        """Yield topic number, time and data of each row that can be read."""
        last, missing, gaps, reason = -1, 0, 0, ''
        with closing(self._open()) as database:
            while missing < MOST_MISSING and last < self._end:
                query = (
                    'SELECT id, topic_id, timestamp, data FROM messages '
                    'WHERE id > ? AND id <= ? ORDER BY id'
                )
                try:
                    for number, topic, log_time, data in database.execute(query, (last, self._end)):
                        gaps += missing
                        last, missing = number, 0
                        if isinstance(data, bytes) and isinstance(log_time, int):
                            yield topic, log_time, data
                    break
                except sqlite3.Error as error:
                    reason = reason or str(error)
                    last, missing = last + 1, missing + 1
        if gaps:
            damage.append(f'{gaps} rows between others cannot be read ({reason})')
        self._end = last - missing
        if missing >= MOST_MISSING:
            damage.append(f'it can be read up to row {last - missing} ({reason})')
