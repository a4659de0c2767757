# SPDX-License-Identifier: Apache-2.0
"""Reads text files of numbers, in which data sets and trackers write boxes and flags.

Numbers are separated by commas, semicolons, tabs or spaces.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcat_ros.files import read_text, shown


def parse_number(word: str) -> float:
    """Return the number that a word states. Raises ValueError, with the word, shortened."""
    try:
        return float(word)
    except ValueError:
        raise ValueError(f'could not convert string to float: {shown(word)}') from None


def read_table(path: Path, columns: int | None = None) -> NDArray[np.float64]:
    """Return the numbers of a text file, (rows, columns). Lines that begin with # are skipped.

    columns: keep only the first so many numbers of each row. Raises OSError; ValueError, naming
    the file, if it holds anything but numbers or rows of different lengths.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.replace(',', ' ').replace(';', ' ').split()[:columns]
        if not words or words[0].startswith('#'):
            continue
        try:
            rows.append([parse_number(word) for word in words])
        except ValueError as error:
            raise ValueError(f'{path}, line {number}: {error}; expected only numbers') from None
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(
                f'{path}, line {number} has {len(rows[-1])} numbers, the first row {len(rows[0])}'
            )
    return np.array(rows, np.float64)


def read_box_table(path: Path) -> NDArray[np.float64]:
    """Return the boxes of a text file, (n, 4). Raises OSError and ValueError, naming the file."""
    boxes = read_table(path)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        found = f'{boxes.shape[1]} numbers' if boxes.ndim == 2 else 'nothing'
        hint = ''
        if boxes.ndim == 2 and boxes.shape[1] >= 6:
            hint = '; try --benchmark vot for polygons'
            if boxes.shape[1] == 8:
                hint += ', or replace decimal commas by points'
        raise ValueError(f'{path}: expected x y w h a line, got {found}{hint}')
    if looks_like_corners(boxes):
        warnings.warn(f'{path} looks like x1 y1 x2 y2; expected x y w h a line', stacklevel=2)
    return boxes


def looks_like_corners(boxes: NDArray[np.float64]) -> bool:
    """Return whether boxes (n, 4) are probably corners x1 y1 x2 y2 instead of x y w h.

    If they are corners, x2 > x1 and y2 > y1 in every row, and the differences vary less from row
    to row than x2 and y2 do.
    """
    known = boxes[np.isfinite(boxes).all(axis=1)]
    known = known[(known != 0).any(axis=1)]
    if len(known) < 5 or not (known[:, 2:] > known[:, :2]).all():
        return False
    moved = known[:, :2].std(axis=0) + 1e-9
    as_sizes, as_corners = known[:, 2:].std(axis=0), (known[:, 2:] - known[:, :2]).std(axis=0)
    return bool((as_corners < 0.5 * as_sizes).all() and (as_sizes > 0.5 * moved).all())


def read_flags(path: Path, count: int) -> NDArray[np.float64]:
    """Return the numbers of a text file with one number per frame, on one line or on several.

    Raises OSError; ValueError, naming the file, unless it holds `count` numbers.
    """
    flags = read_table(path).ravel()
    if len(flags) != count:
        raise ValueError(f'{path} has {len(flags)} numbers for {count} boxes')
    return flags


def absent_where_empty(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the boxes (n, 4) with NaN for boxes of no size, which mark an absent target."""
    known = boxes.copy()
    with np.errstate(invalid='ignore'):
        known[np.flatnonzero((boxes[:, 2:] <= 0).any(axis=1))] = np.nan
    return known
