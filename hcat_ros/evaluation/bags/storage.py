# SPDX-License-Identifier: Apache-2.0
"""The files that a bag consists of, each read as far as it can be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path

import zstandard
from rosbags.rosbag2 import Reader, storage_mcap

from hcat_ros.evaluation.bags.message_types import (
    StoredMessage,
    Topic,
    decompress_lz4,
    decompress_zstd,
)
from hcat_ros.evaluation.bags.salvage import (
    LARGEST_RATIO,
    Salvaged,
    SalvagedMcap,
    is_unindexed,
    largest_chunk,
    objection,
    salvage,
)
from hcat_ros.files import describe_stand_in, scratch_folder

SUFFIXES = ('.mcap', '.db3')
PACKED = '.zstd'
"""Suffix of a file that was compressed as a whole."""
LEAST_FREE = 1 << 30
"""Free disk space that unpacking must leave, bytes."""
LARGEST_UNPACKED = 1 << 30
"""Size up to which a file is unpacked at any ratio, bytes."""


# `rosbags` checks the stated size of a chunk of an MCAP file only after it has unpacked the chunk,
# which may have gigabytes.
storage_mcap.DECOMPRESSORS |= {
    'zstd': lambda data, size: decompress_zstd(data, min(size, largest_chunk(len(data)))),
    'lz4': lambda data, size: decompress_lz4(data, min(size, largest_chunk(len(data)))),
}


def is_storage(path: Path) -> bool:
    """Return whether a file's name is that of a bag's storage file; macOS's `._name` is none."""
    if path.name.startswith('._'):
        return False
    return path.suffix in SUFFIXES or (path.suffix == PACKED and is_storage(path.with_suffix('')))


def foreign(path: Path) -> str:
    """Return why a file cannot be a bag's storage, with the remedy; '' if it may be one.

    Raises OSError.
    """
    if not path.is_file():
        os.stat(path)
        return 'is no file, but a folder, FIFO, socket or device'
    with path.open('rb') as file:
        start = file.read(64).lstrip()
    if not start:
        return 'is empty'
    if start.startswith(b'#ROSBAG'):
        return 'is a bag of ROS 1; rosbags-convert --src FILE --dst FOLDER makes one of ROS 2'
    return describe_stand_in(start)


def _free(path: Path) -> int:
    return shutil.disk_usage(path.parent).free


class Scratch:
    """Unpacks one file at a time, so that a bag of many files needs the disk space of one."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(scratch_folder('hcat-bag'))
        self._packed: Path | None = None
        self._file: Path | None = None
        self.damage: dict[Path, str] = {}
        """Damage of the compression of each file, in words."""

    def file(self, path: Path) -> Path:
        """Return the path of the file, or of its unpacked copy if it is packed. Raises OSError."""
        if path.suffix != PACKED:
            return path
        if self._file is None or path != self._packed:
            self._drop()
            self._packed, self._file = path, self._folder / path.stem
            self._unpack(path, self._file)
        return self._file

    def _unpack(self, path: Path, target: Path) -> None:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        largest = max(LARGEST_UNPACKED, LARGEST_RATIO * path.stat().st_size)
        with path.open('rb') as source, target.open('wb') as file:
            try:
                # Small pieces are read, because 64 KB can unpack to 2 GB in memory.
                while not decompressor.eof and (block := source.read(1 << 12)):
                    file.write(decompressor.decompress(block))
                    if file.tell() > largest or _free(target) < LEAST_FREE:
                        raise zstandard.ZstdError(
                            f'it unpacks to more than {file.tell()} bytes, too many for a bag of '
                            'its size or for this disk; unpack it by hand with zstd -d'
                        )
                reason = '' if decompressor.eof else 'it is cut off'
            except zstandard.ZstdError as error:
                reason = str(error)
        if reason:
            size = target.stat().st_size
            self.damage[path] = f'its compression is damaged ({reason}): {size} bytes unpacked'

    def _drop(self) -> None:
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None

    def close(self) -> None:
        """Remove the unpacked files."""
        self._stack.close()


class StorageFile:
    """A storage file, read with `rosbags` or, if that fails, record by record.

    topics: topics with the stated numbers of messages; damage: what cannot be read, in words.
    Raises OSError for a file that is missing or may not be read.
    """

    def __init__(self, path: Path, scratch: Scratch) -> None:
        self.path = path
        self.damage: list[str] = []
        self.topics: dict[str, Topic] = {}
        self._scratch = scratch
        self._salvaged: Salvaged | None = None
        self._unindexed: SalvagedMcap | None = None
        if what := foreign(path):
            self._pass_over(f'it {what}')
            return
        file = scratch.file(path)
        if why := objection(file):
            if file.suffix == '.mcap':
                self._salvage(ValueError(why))
            else:
                self._pass_over(why)
            return
        if is_unindexed(file):
            self._unindexed = SalvagedMcap(file)
            self.topics, self.damage = self._unindexed.topics, self._unindexed.damage
            return
        try:
            with Reader(file) as reader:
                self.topics = {
                    name: Topic(name, info.msgtype or '', info.msgcount)
                    for name, info in reader.topics.items()
                }
        except Exception as error:  # `rosbags` raises the exceptions of other libraries
            self._salvage(error)
        if path in scratch.damage:
            self.damage.insert(0, scratch.damage[path])

    def messages(
        self, names: Collection[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[StoredMessage]:
        """Yield the messages on these topics in order of time, from `start` to before `stop`.

        The messages of a damaged file are in the order of the file.
        """
        if self._unindexed is not None:
            yield from self._unindexed.messages_in_order(names, start, stop)
            return
        position = _ReadPosition()
        if self._salvaged is None:
            try:
                with Reader(self._scratch.file(self.path)) as reader:
                    connections = [entry for entry in reader.connections if entry.topic in names]
                    found = reader.messages(connections, start, stop) if connections else ()
                    for connection, log_time, data in found:
                        if not (isinstance(log_time, int) and isinstance(data, bytes | memoryview)):
                            raise ValueError('the time or content of a message is text')
                        position.add(log_time)
                        yield StoredMessage(connection.topic, log_time, data)
                stated = sum(connection.msgcount for connection in connections)
                if position.number or not stated or (start, stop) != (None, None):
                    return
                self._salvage(ValueError('its index lists no message'))
            except Exception as error:  # as above
                self._salvage(error)
        assert self._salvaged is not None
        first = position.newest if start is None else max(start, position.newest)
        for message in self._salvaged.messages(names, first):
            within = message.log_time >= first and (stop is None or message.log_time < stop)
            if within and not position.consume_duplicate(message.log_time):
                yield message

    def _pass_over(self, why: str) -> None:
        self.damage.append(f'nothing of it is read: {why}')
        self._salvaged = _Nothing()

    def _salvage(self, error: Exception) -> None:
        file = self._scratch.file(self.path)
        self._salvaged = salvage(file)
        reason = str(error).replace(str(file), self.path.name) or type(error).__name__
        self.damage += [f'read record by record ({reason})', *self._salvaged.damage]
        for name, topic in self._salvaged.topics.items():
            self.topics.setdefault(name, topic)


class _Nothing:
    """The content of a file that is not read at all."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.damage: list[str] = []

    def messages(self, names: Collection[str], start: int = 0) -> Iterator[StoredMessage]:
        return iter(())


class _ReadPosition:
    """The position that a reader had reached before it failed."""

    def __init__(self) -> None:
        self.newest = -(2**63)
        self.number = 0
        self._same = 0
        """Number of messages at the newest time."""

    def add(self, log_time: int) -> None:
        """Count a message that was read."""
        self._same = self._same + 1 if log_time == self.newest else 1
        self.newest = log_time
        self.number += 1

    def consume_duplicate(self, log_time: int) -> bool:
        """Return whether a message of a second reading was already read; call it once for each."""
        if log_time != self.newest or self._same == 0:
            return False
        self._same -= 1
        return True
