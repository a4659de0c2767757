# SPDX-License-Identifier: Apache-2.0
"""Reads files of others safely: only regular files, up to a size limit, with checked content."""

from __future__ import annotations

import codecs
import errno
import json
import os
import reprlib
import stat
from pathlib import Path
from typing import Any

import yaml

LARGEST = 2 << 30
"""Default for the largest file that is read into memory, bytes."""
BLOCK = 1 << 16
LARGEST_TEXT = 64 << 20
LARGEST_YAML = 4 << 20
MOST_NODES = 100_000
"""Maximum number of nodes in a YAML file: keys, values and collections."""
DEEPEST = 32
"""Maximum depth of nesting in a YAML file."""
LONGEST_SCALAR = 1 << 16
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_KINDS = (
    (stat.S_ISDIR, 'a folder'),
    (stat.S_ISFIFO, 'a FIFO'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)


class _Short(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        try:
            return super().repr_int(value, level)
        except ValueError:  # Python writes at most 4300 digits
            return f'a whole number of {value.bit_length()} bits'


_SHORT = _Short()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 6
_SHORT.maxlevel = 2


_STAND_INS = (
    (b'version https://git-lfs', 'is a pointer of Git LFS, not the file; run git lfs pull'),
    (b'<!doctype html', 'is an HTML page; download the file itself'),
    (b'<html', 'is an HTML page; download the file itself'),
)
"""First bytes of files that a clone or a download may leave in place of the real file, with a
description and the remedy."""


def describe_stand_in(content: bytes | memoryview) -> str:
    """Return a description and the remedy if `content` replaces the real file, otherwise ''."""
    start = bytes(content[:64]).lstrip().lower()
    return next((what for sign, what in _STAND_INS if start.startswith(sign)), '')


def shown(value: object) -> str:
    """Return a shortened `repr` of an untrusted value, for messages.

    Strings are cut to 80 characters, collections to 6 items and 2 levels.
    """
    return _SHORT.repr(value)


def check_name(path: Path) -> None:
    """Raise ValueError for a path that is not UTF-8: C++ libraries may end the process on it."""
    try:
        os.fspath(path).encode('utf-8')
    except UnicodeEncodeError:
        raise ValueError(
            f'{printable(path)}: the name is not UTF-8; rename the file or folder'
        ) from None


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file.

    Raises OSError; ValueError, naming the file, for a folder, a FIFO, a socket or a device, and for
    more than `largest` bytes.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that is not there
            _check_regular(path, os.stat(path).st_mode)
        raise
    try:
        found = os.fstat(descriptor)
        _check_regular(path, found.st_mode)
        if found.st_size > largest:
            raise ValueError(
                f'{printable(path)} has {found.st_size} bytes; expected at most {largest}'
            )
        with open(descriptor, 'rb', closefd=False) as file:
            # Read only the stated size: read() allocates all the memory that it is asked for.
            parts = [file.read(found.st_size)]
            while more := file.read(BLOCK):  # the file grew, or states no size (/proc)
                parts.append(more)
                if sum(map(len, parts)) > largest:
                    raise ValueError(f'{printable(path)} has more than {largest} bytes')
    finally:
        os.close(descriptor)
    return b''.join(parts) if len(parts) > 1 else parts[0]


def _check_regular(path: Path, mode: int) -> None:
    """Raise ValueError, naming the file and its kind, if it is not a regular file."""
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), 'no file')
        raise ValueError(f'{printable(path)} is {kind}; expected a file')


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Return the text of a file in UTF-8, or UTF-16 with a byte order mark, without the mark.

    Raises OSError; ValueError, naming file, line and byte, for another encoding; and the errors of
    `read_bytes`.
    """
    content = read_bytes(path, largest)
    if content.startswith(_UTF16):
        try:
            return content.decode('utf-16')
        except UnicodeDecodeError as error:
            message = (
                f'{printable(path)} has the byte order mark of UTF-16, but is not UTF-16: {error}'
            )
            raise ValueError(message) from None
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise ValueError(
            f'{printable(path)}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; '
            'save it as UTF-8'
        ) from None


def load_json(path: Path, largest: int = LARGEST_TEXT) -> Any:
    """Return the content of a JSON file. Raises OSError and ValueError, naming the file."""
    text = read_text(path, largest)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError(f'{printable(path)}: values are nested too deeply') from None
    except ValueError as error:
        raise ValueError(f'{printable(path)} is not JSON: {error}') from None


def load_yaml(path: Path, largest: int = LARGEST_YAML) -> Any:
    """Return the content of a YAML file. Raises OSError and ValueError, as `parse_yaml`."""
    return parse_yaml(read_text(path, largest), printable(path))


def parse_yaml(text: str, name: str) -> Any:
    """Return the content of a YAML text as plain Python types.

    name: name of the file in messages. Raises ValueError, naming the file and the line, for text
    that is not YAML. So that a small file cannot fill the memory, it also refuses aliases and more
    than `MOST_NODES` nodes, `DEEPEST` levels or `LONGEST_SCALAR` characters in one value.
    """
    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
    nodes = depth = 0
    try:
        for event in yaml.parse(text, loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f'{_place(name, event)}: write the value in place of the alias')
            nodes += isinstance(event, yaml.NodeEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if nodes > MOST_NODES or depth > DEEPEST:
                what = f'{MOST_NODES} values' if nodes > MOST_NODES else f'{DEEPEST} levels'
                raise ValueError(f'{_place(name, event)}: more than {what}')
            if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST_SCALAR:
                raise ValueError(
                    f'{_place(name, event)}: a value of {len(event.value)} characters, expected '
                    f'at most {LONGEST_SCALAR}'
                )
        return yaml.load(text, loader)
    except yaml.YAMLError as error:
        raise ValueError(f'{name} is not YAML: {error}') from None
    except RecursionError:
        raise ValueError(f'{name}: values are nested too deeply') from None
    except ValueError as error:  # also for a date or number that Python does not accept
        if str(error).startswith(name):
            raise
        raise ValueError(f'{name}: {error}') from None
    except (LookupError, AttributeError, TypeError, ArithmeticError):
        # PyYAML raises these for a value that does not fit its tag: !!bool maybe, !!int "".
        raise ValueError(
            f'{name}: a value does not fit its tag (!!bool, !!int, !!float or !!timestamp); '
            'leave the tag out'
        ) from None


def _place(name: str, event: yaml.Event) -> str:
    mark = event.start_mark
    return f'{name}, line {mark.line + 1}' if mark else name


def printable(path: Path | str) -> str:
    """Return a path, or a text that contains paths; bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode('utf-8', 'backslashreplace')
