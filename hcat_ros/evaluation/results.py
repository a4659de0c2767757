# SPDX-License-Identifier: Apache-2.0
"""A tracker's answers for a sequence, in memory and as a CSV file."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.files import whole_rows

COLUMNS = ('frame', 'x', 'y', 'w', 'h', 'score', 'state', 'ms')
LOST = 'lost'
SEEN = 'tracking'


class SequenceResult(NamedTuple):
    """A tracker's answers for a clip, from its first visible frame to its last.

    Row 0 is that first frame, with the box that the tracker was given.
    """

    boxes: NDArray[np.float64]
    """(n, 4) as x y w h, pixels."""
    scores: NDArray[np.float64]
    """(n,), raw scores in 0..1; NaN where the tracker gives none, as in row 0."""
    lost: NDArray[np.bool_]
    """(n,), whether the tracker reported that it has lost the target."""
    seconds: NDArray[np.float64]
    """(n,), duration of the start (row 0) and of each update; NaN if not known."""


def slug(title: str) -> str:
    """Return a title as a name that is safe for files and folders."""
    return re.sub(r'[^\w.=+-]+', '-', title).strip('.') or '-'


def write_result(result: SequenceResult, path: Path) -> None:
    """Write a CSV file with one row per frame; an error leaves no partial file. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_rows(path) as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, (box, score, lost, seconds) in enumerate(zip(*result)):
            # All digits are written, so that an interrupted evaluation resumes with equal numbers.
            values = [repr(float(value)) for value in box]
            state = LOST if lost else SEEN
            writer.writerow([number, *values, repr(float(score)), state, f'{1e3 * seconds:.4f}'])


def read_result(path: Path) -> SequenceResult:
    """Read the CSV file of `write_result`. Raises OSError; ValueError, naming file and line."""
    try:
        return _read_rows(path)
    except csv.Error as error:  # such as an unclosed quote
        raise ValueError(f'{path}: {error}; delete the file to run it again') from None


def _read_rows(path: Path) -> SequenceResult:
    with path.open(newline='', encoding='utf-8', errors='replace') as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != COLUMNS:
            raise ValueError(f'{path}: expected a first line {",".join(COLUMNS)}')
        rows: list[list[float]] = []
        for row in reader:
            try:
                number, *values, state, milliseconds = row
                if int(number) != len(rows) or len(values) != 5 or state not in (LOST, SEEN):
                    raise ValueError
                rows.append([*map(float, values), state == LOST, float(milliseconds) / 1e3])
            except ValueError:
                raise ValueError(
                    f'{path}, line {reader.line_num}: expected {",".join(COLUMNS)} of frame '
                    f'{len(rows)}, got {",".join(row)[:80]}; delete the file to run it again'
                ) from None
    table = np.array(rows, np.float64).reshape(-1, 7)
    return SequenceResult(table[:, :4], table[:, 4], table[:, 5] != 0, table[:, 6])
