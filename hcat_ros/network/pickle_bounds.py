# SPDX-License-Identifier: Apache-2.0
"""Finds pickles that would fill the memory or never end, before PyTorch loads them.

`torch.load(..., weights_only=True)` runs no foreign code, but builds what a file asks for: a
hundred bytes are enough for `bytearray(10**10)`, and for tuples in tuples whose hash takes years.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator

LARGEST_TUPLE = 1_000_000
"""Largest number of items in a tuple and the tuples in it; an item counts as often as it occurs."""
BYTEARRAY = ('builtins bytearray', '__builtin__ bytearray')
ENCODE = '_codecs encode'
GROWING_CODECS = ('base64', 'base_64', 'hex', 'quopri', 'quoted_printable', 'quotedprintable', 'uu')
"""Codecs that make longer bytes of bytes, so that forty calls in turn ask for terabytes. Pickle
itself uses latin1."""
LEGACY_PICKLES = 5
"""Number of pickles at the start of a file in PyTorch's format without zip."""
_GET = ('GET', 'BINGET', 'LONG_BINGET')
_PUT = ('PUT', 'BINPUT', 'LONG_BINPUT')


def check_pickles(content: bytes) -> None:
    """Raise ValueError, with the reason, for a PyTorch file whose loading could have no bounds.

    Also raises the many exceptions of `zipfile` and `pickletools` for damaged files.
    """
    for stream in _streams(content):
        _check_pickle(stream)


def _streams(content: bytes) -> Iterator[io.BytesIO]:
    """Yield the pickles of a file, each at its beginning."""
    if content.startswith(b'PK'):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for record in archive.infolist():
                if record.filename.endswith('data.pkl'):
                    yield io.BytesIO(archive.read(record))
        return
    stream = io.BytesIO(content)
    for _ in range(LEGACY_PICKLES):
        if stream.tell() < len(content):
            yield stream  # `_check_pickle` leaves it at the beginning of the next one


def _check_pickle(stream: io.BytesIO) -> None:
    # Follows the unpickler's stack: the size of each object, None for a mark.
    stack: list[int | None] = []
    memo: dict[object, int | None] = {}
    encodes = growing = False
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name == 'GLOBAL' and argument in BYTEARRAY:
            raise ValueError('it calls bytearray, which weights do not need')
        encodes |= argument == ENCODE
        if operation.name in _GET:
            stack.append(memo.get(argument, 1))
            continue
        if operation.name in _PUT:
            memo[argument] = stack[-1]
            continue
        before = list(operation.stack_before)
        size = 1
        if pickletools.markobject in before:
            while (item := stack.pop()) is not None:
                size += item
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            size += stack.pop() or 0
        if not operation.name.startswith('TUPLE'):
            size = 1
        if size > LARGEST_TUPLE:
            raise ValueError(f'its tuples have {size} items, more than {LARGEST_TUPLE}')
        stack += [
            None if kind is pickletools.markobject else size for kind in operation.stack_after
        ]
        if isinstance(argument, str):
            codec = re.sub('[^a-z0-9]+', '_', argument.lower()).removesuffix('_codec')
            growing |= codec in GROWING_CODECS
    if encodes and growing:
        raise ValueError('it calls encode with a codec that weights do not need')
