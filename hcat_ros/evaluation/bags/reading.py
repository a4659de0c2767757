# SPDX-License-Identifier: Apache-2.0
"""Reads rosbags without ROS: SQLite or MCAP, also compressed or damaged, of any length.

Messages are read one at a time; those that cannot be read are counted in `Bag.findings`.
"""

from __future__ import annotations

import heapq
import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from hcat_ros.evaluation.bags.findings import Findings
from hcat_ros.evaluation.bags.message_types import (
    COMPRESSED,
    IMAGE,
    StoredMessage,
    Topic,
    decode_message,
    unpack_message,
)
from hcat_ros.evaluation.bags.storage import (
    PACKED,
    SUFFIXES,
    Scratch,
    StorageFile,
    foreign,
    is_storage,
)
from hcat_ros.files import load_yaml
from hcat_ros.message_data import decoded_image, image_view, nanoseconds
from hcat_ros.tracking.encodings import NO_PICTURE, REFUSED, Image

METADATA = 'metadata.yaml'
MOST_OPEN = 64
"""Largest number of files of a bag that are open at once, to be merged by time."""
DRAWN = '/track_image'
"""Ending of topics with a tracker's output instead of a camera's images."""


@dataclass(frozen=True)
class BagFrame:
    """An image of a bag."""

    index: int
    """Number of the image's message among those of its topic, from 0."""
    stamp: int
    """Stamp of the image's header, nanoseconds."""
    log_time: int
    """Time of recording, nanoseconds."""
    frame_id: str
    image: Image
    """Pixels as they were published, see `encoding`; read-only."""
    encoding: str


def open_bag(path: Path) -> Bag:
    """Open a rosbag2: its folder or one .mcap or .db3 file, also compressed to .zstd.

    Raises FileNotFoundError; ValueError if it is not a bag; OSError if it may not be read.
    """
    return Bag(path)


class Bag:
    """An open bag; use it as a context manager, or `close` it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings = Findings()
        """Damage and oddities found so far."""
        files, stated = _contents(path, self.findings)
        self._scratch = Scratch()
        self._reported: dict[Path, int] = {}
        try:
            self._files = [StorageFile(file, self._scratch) for file in files]
        except BaseException:
            self._scratch.close()
            raise
        self._report_damage()
        for whole in files:
            journal = whole.with_name(f'{whole.name}-wal')
            if journal.is_file() and journal.stat().st_size:
                self.findings.note(
                    f'{journal.name} has messages that are not in {whole.name} and are not read: '
                    f'move them there with `sqlite3 {whole.name} "PRAGMA wal_checkpoint"`',
                    left_out=True,
                )
        self.topics: dict[str, Topic] = {}
        """Topics by name. Their counts come from metadata.yaml or, without it, from the files; a
        damaged file counts only the messages that can be read."""
        for file in self._files:
            for name, topic in file.topics.items():
                before = self.topics.get(name)
                count = topic.count + (before.count if before else 0)
                self.topics[name] = Topic(name, before.type if before else topic.type, count)
        for name, count in stated.items():
            if name in self.topics:
                self.topics[name] = replace(self.topics[name], count=count)

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the unpacked files."""
        self._scratch.close()

    @property
    def is_damaged(self) -> bool:
        """Whether damage has been found so far; reading on may find more."""
        return any(file.damage for file in self._files)

    @property
    def name(self) -> str:
        """Name of the folder or file, without .mcap, .db3 and .zstd."""
        name = self.path.resolve().name
        for suffix in (PACKED, *SUFFIXES):
            name = name.removesuffix(suffix)
        return name

    def find_topic(self, name: str, *types: str) -> Topic:
        """Return the topic of this name. Raises ValueError if none has one of these types."""
        topic = self.topics.get(name) or self.topics.get(f'/{name}')
        if topic is None:
            raise ValueError(f'{self.path} has no topic {name}; {self._list_topics()}')
        if topic.type not in types:
            raise ValueError(f'{topic.name} is of type {topic.type}, expected {" or ".join(types)}')
        return topic

    def image_topic(self, name: str = '') -> Topic:
        """Return the image topic of this name or, without a name, the only topic with pictures.

        Topics of depth images, of drawn tracks and the compressed twin of a raw topic are then left
        out. Raises ValueError if no topic or several remain.
        """
        if name:
            topic = self.find_topic(name, IMAGE, COMPRESSED)
            if self._is_depth(topic):
                raise ValueError(f'{topic.name} is no picture: {NO_PICTURE}')
            return topic
        candidates = {
            topic.name: topic
            for topic in self.topics.values()
            if topic.type in (IMAGE, COMPRESSED) and topic.count
        }
        found = [
            topic
            for topic in candidates.values()
            if not topic.name.removesuffix('/compressed').endswith(DRAWN)
            and not (topic.type == COMPRESSED and topic.name.rpartition('/')[0] in candidates)
            and not self._is_depth(topic)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ', '.join(f'{topic.name} ({topic.count})' for topic in found)
            raise ValueError(f'{self.path} has several image topics, name one: {listed}')
        raise ValueError(f'{self.path} has no topic with pictures; {self._list_topics()}')

    def _is_depth(self, topic: Topic) -> bool:
        first = next(self.messages([topic.name]), None)
        try:
            message = decode_message(first.data, topic.type) if first else None
        except ValueError:
            return False
        if message is None:
            return False
        if topic.type == COMPRESSED:
            return 'compressedDepth' in message.format
        return REFUSED.get(message.encoding) == NO_PICTURE

    def _list_topics(self) -> str:
        """Describe the topics and the damage of the files, for error messages."""
        topics = sorted(self.topics.values())
        listed = ', '.join(f'{t.name} ({t.count} {t.type})' for t in topics) or 'none'
        damage = [f'{file.path.name}: {text}' for file in self._files for text in file.damage]
        return '; '.join([f'it has {listed}', *damage])

    def messages(
        self, names: Collection[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[StoredMessage]:
        """Yield the messages of these topics by the time of recording, from start to before stop.

        The files of a split bag are merged by time; packed files, and more than `MOST_OPEN`, are
        read one after the other. The messages of a damaged file keep the order of the file.
        """
        files = [file for file in self._files if any(name in file.topics for name in names)]
        if 1 < len(files) <= MOST_OPEN and not any(file.path.suffix == PACKED for file in files):
            parts = (file.messages(names, start, stop) for file in files)
            yield from heapq.merge(*parts, key=lambda message: message.log_time)
            self._report_damage()
            return
        for file in files:
            yield from file.messages(names, start, stop)
            self._report_damage()

    def decode_topic(self, topic: Topic) -> Iterator[tuple[int, int, Any]]:
        """Yield the number, time of recording and content of each readable message of a topic."""
        number, first, last = -1, 0, 0
        for number, stored in enumerate(self.messages([topic.name])):
            first, last = (first if number else stored.log_time), stored.log_time
            try:
                message = decode_message(stored.data, topic.type)
            except ValueError as error:
                kind = f'messages on {topic.name} that cannot be read'
                self.findings.add(kind, f'number {number}: {error}', left_out=True)
                continue
            yield number, stored.log_time, message
        if number + 1 < topic.count:
            ends = f', the last {(last - first) / 1e9:.3f} s after the first' if number >= 0 else ''
            text = f'{topic.name}: read {number + 1} of {topic.count} messages{ends}'
            self.findings.note(text, left_out=True)

    def times(self, topic: Topic) -> list[tuple[int, int]]:
        """Return (header stamp, time of recording) of all messages, ns; stamp 0 if missing."""
        found = []
        for stored in self.messages([topic.name]):
            try:
                data = unpack_message(stored.data, 12)
            except ValueError:
                data = b''
            # CDR begins with four bytes that state the byte order; the header's stamp follows.
            order = '<iI' if data[1:2] == b'\x01' else '>iI'
            if len(data) == 12:
                seconds, rest = struct.unpack(order, bytes(data[4:]))
                found.append((seconds * 10**9 + rest, stored.log_time))
            else:
                found.append((0, stored.log_time))
        return found

    def frames(self, topic: Topic, mono16_bits: int = 16) -> Iterator[BagFrame]:
        """Yield the readable images of a topic; the others are added to the findings.

        mono16_bits: number of bits of a mono16 pixel that the sensor fills.
        """
        for number, log_time, message in self.decode_topic(topic):
            try:
                yield _frame(number, log_time, message, mono16_bits)
            except ValueError as error:
                kind = 'images that cannot be used'
                self.findings.add(kind, f'image {number}: {error}', left_out=True)

    def frame_at(self, topic: Topic, log_time: int, stamp: int, mono16_bits: int = 16) -> BagFrame:
        """Return the image with this stamp, recorded at this time; its `index` is always 0.

        Raises ValueError.
        """
        for stored in self.messages([topic.name], log_time, log_time + 1):
            message = decode_message(stored.data, topic.type)
            if nanoseconds(message.header.stamp) == stamp:
                return _frame(0, log_time, message, mono16_bits)
        raise ValueError(f'{topic.name}: no image with stamp {stamp} recorded at {log_time}')

    def _report_damage(self) -> None:
        for file in self._files:
            for text in file.damage[self._reported.get(file.path, 0) :]:
                self.findings.note(f'{file.path.name}: {text}', left_out=True)
            self._reported[file.path] = len(file.damage)


def _frame(number: int, log_time: int, message: Any, mono16_bits: int) -> BagFrame:
    if hasattr(message, 'format'):
        pixels, encoding = decoded_image(message)
    else:
        pixels, encoding = image_view(message, mono16_bits)
    stamp = nanoseconds(message.header.stamp)
    return BagFrame(number, stamp, log_time, message.header.frame_id, pixels, encoding)


def _contents(path: Path, findings: Findings) -> tuple[list[Path], dict[str, int]]:
    """Return a bag's files in their order, and the number of messages per topic in its metadata."""
    if not path.exists():
        raise FileNotFoundError(f'no bag {path}')
    if not path.is_dir():
        empty = path.is_file() and path.stat().st_size == 0  # reported with other damage
        if not empty and (what := foreign(path)):
            raise ValueError(f'{path} {what}')
        if not is_storage(path):
            raise ValueError(f'{path} is no rosbag2: expected a folder, or a .mcap or .db3 file')
        return [path], {}
    there = sorted((file for file in path.iterdir() if is_storage(file)), key=_natural)
    if not there:
        raise ValueError(f'{path} is no rosbag2: it holds no .mcap or .db3 file')
    try:
        bag = load_yaml(path / METADATA)['rosbag2_bagfile_information']
        # A file that is listed twice is read once.
        names = dict.fromkeys(Path(name).name for name in bag['relative_file_paths'])
        listed = [path / name for name in names]
        counts = {
            topic['topic_metadata']['name']: int(topic['message_count'])
            for topic in bag['topics_with_message_count']
        }
        if wrong := [f'{count} messages of {name}' for name, count in counts.items() if count < 0]:
            raise ValueError(', '.join(wrong))
    except FileNotFoundError:
        findings.note(f'{METADATA} is missing: the files in the folder are read')
        return there, {}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = ' '.join(str(error).split())[:300]
        findings.note(f'{METADATA} is damaged ({reason}): the files in the folder are read')
        return there, {}
    files = []
    for file in listed:
        found = next((other for other in _forms(file) if other in there), None)
        if found is None:
            findings.note(f'{file.name} is missing', left_out=True)
        else:
            files.append(found)
    known = {other for file in listed for other in _forms(file)}
    for file in there if files else ():
        if file not in known:
            findings.note(
                f'{file.name} is not read: {METADATA} does not list it; ros2 bag reindex lists it',
                left_out=True,
            )
    return files or there, counts


def _forms(file: Path) -> tuple[Path, Path, Path]:
    """Return a file, and its names if someone compressed or unpacked it by hand."""
    return file, file.with_name(f'{file.name}{PACKED}'), file.with_suffix('')


def _natural(path: Path) -> list[str | int]:
    """Sort key: bag_2 before bag_10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r'(\d+)', path.name)]
