# SPDX-License-Identifier: Apache-2.0
"""Writes files completely or not at all, never over input, and removes files of killed runs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

_MARK = 'partial'
"""Part of the name of an incomplete file. Its writer locks the file, and the lock ends with the
process: an incomplete file without a lock was left by a killed process."""
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of write(2). Their OSError does not name a file."""


_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of flock(2) on file systems without locks, as some network file systems are."""
LONGEST_NAME = 50
"""Number of a name's characters, of up to 4 bytes, in the name of the incomplete file."""


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | str]) -> None:
    """Raise ValueError if an output would overwrite an input or another output.

    Paths that lead to the same file or folder are the same, also through links, hard links and
    `..`. An existing file in an input folder counts as an input; a new file there does not. None
    stands for an output that was not requested.
    """
    named = [path for path in outputs if path is not None]
    read = [Path(path) for path in inputs]
    for number, path in enumerate(named):
        for source in read:
            if _same(path, source) or (path.is_file() and _within(path, source)):
                raise ValueError(
                    f'{path} would be written over {source}, which is read; name another output'
                )
        for other in named[:number]:
            if _same(path, other) or path.resolve() == other.resolve():
                raise ValueError(f'{path} and {other} are the same output; name two')


def _same(one: Path, other: Path) -> bool:
    try:
        # Writing to a device or FIFO destroys nothing: /dev/null, /dev/stdout.
        kind = one.stat().st_mode
        return (stat.S_ISREG(kind) or stat.S_ISDIR(kind)) and one.samefile(other)
    except OSError:
        return False


def _within(path: Path, folder: Path) -> bool:
    return folder.is_dir() and folder.resolve() in path.resolve().parents


@contextlib.contextmanager
def whole_file(path: Path, suffixed: bool = False) -> Iterator[Path]:
    """Yield the path of a file to write, which replaces `path` unless an exception is raised.

    suffixed: whether the yielded path has the suffix of `path`, for libraries that choose a format
    by suffix. Otherwise it has another suffix, so that a search by suffix does not find an
    incomplete file. After an error the old file is still there, and the OSError names `path`. A
    device or FIFO is written directly. Raises OSError.
    """
    # Use the given name: /dev/stdout and >(gzip) may lead to a pipe, which has no other path.
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, 'Is a folder, expected a file', str(path))
        with _name_in_errors(path):
            yield path
        return
    target = Path(os.path.realpath(path))
    with _name_in_errors(path):
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if not target.parent.is_dir():
            reason = f'No folder {target.parent}'
            raise FileNotFoundError(errno.ENOENT, reason, str(path))
        # The whole name and the mark might be longer than the 255 bytes that a name may have.
        begin = f'.{target.name[:LONGEST_NAME]}.{_MARK}-'
        end = target.suffix if suffixed else ''
        _clear(target.parent, begin, end)
        partial, descriptor = _create_locked_file(target.parent, begin, end)
        try:
            if target.exists():
                partial.chmod(stat.S_IMODE(target.stat().st_mode))
            yield partial
            with partial.open('rb') as written:  # opened anew: a library may have replaced it
                os.fsync(written.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, completely or not at all. Raises OSError, naming the file."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding='utf-8')


@contextlib.contextmanager
def whole_rows(path: Path) -> Iterator[TextIO]:
    """Yield a text file for the module `csv`; it replaces `path` at the end or at Ctrl-C.

    Rows that were written before Ctrl-C are kept; after another error the old file stays.
    """
    stopped: KeyboardInterrupt | None = None
    with whole_file(path) as partial, partial.open('w', newline='', encoding='utf-8') as file:
        try:
            yield file
        except KeyboardInterrupt as interruption:
            stopped = interruption
    if stopped is not None:
        raise stopped


@contextlib.contextmanager
def scratch_folder(name: str, within: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder, `.<name>.partial-...` in `within`, that is removed afterwards.

    within: folder of the final result, so that the result can be moved there in one step; by
    default the system's temporary folder. Folders that killed runs left under `name` are removed.
    """
    parent = Path(tempfile.gettempdir()) if within is None else within
    parent.mkdir(parents=True, exist_ok=True)
    begin = f'.{name}.{_MARK}-'
    _clear(parent, begin, '')
    folder, descriptor = _create_locked_folder(parent, begin)
    try:
        with _name_in_errors(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _clear(folder: Path, begin: str, end: str) -> None:
    """Remove files and folders with this begin and end of the name that no process has locked."""
    for path in folder.iterdir():
        if not (path.name.startswith(begin) and path.name.endswith(end)):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock a file or folder until the process ends.

    On a file system without locks nothing is locked; `_clear` then fails to lock, too, and removes
    nothing.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _create_locked_file(folder: Path, begin: str, end: str) -> tuple[Path, int]:
    """Return a new file and a descriptor whose lock keeps other processes from removing it."""
    while True:
        path = folder / f'{begin}{secrets.token_hex(4)}{end}'
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        _lock(descriptor)
        if os.fstat(descriptor).st_nlink:  # no other process removed it before it was locked
            return path, descriptor
        os.close(descriptor)


def _create_locked_folder(parent: Path, begin: str) -> tuple[Path, int]:
    """Return a new folder and a descriptor whose lock keeps other processes from removing it."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=begin, dir=parent))
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:  # another process removed it before it was opened
            continue
        _lock(descriptor)
        if path.exists():  # no other process removed it before it was locked
            return path, descriptor
        os.close(descriptor)


@contextlib.contextmanager
def _name_in_errors(path: Path) -> Iterator[None]:
    """Let an OSError of an incomplete file name `path`, which the user knows."""
    try:
        yield
    except OSError as error:
        ours = _MARK in str(error.filename) if error.filename else error.errno in _WRITE_ERRORS
        if not ours:
            raise
        raise type(error)(error.errno, error.strerror, str(path)) from error
