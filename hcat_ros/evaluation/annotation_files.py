# SPDX-License-Identifier: Apache-2.0
"""Texts of numbers, as data sets and trackers write their boxes: commas, tabs or spaces between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_table(path: Path, columns: int | None = None) -> NDArray[np.float64]:
    """Return the rows of a text of numbers, (rows, columns); of each row the first `columns`.

    Raises OSError; ValueError, naming the file, for anything but numbers and for ragged rows.
    """
    text = path.read_text(encoding='utf-8', errors='replace').replace(',', ' ')
    rows = [line.split()[:columns] for line in text.splitlines() if line.strip()]
    try:
        return np.array(rows, np.float64)
    except ValueError as error:
        raise ValueError(f'{path} is not a table of numbers ({error})') from None


def read_box_table(path: Path) -> NDArray[np.float64]:
    """Return the boxes of a text, (n, 4). Raises OSError and ValueError, naming the file."""
    boxes = read_table(path)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'{path}: expected x y w h a line')
    return boxes


def read_flags(path: Path, count: int) -> NDArray[np.float64]:
    """Return the numbers of a text, one a frame, on one line or on as many.

    Raises OSError; ValueError, naming the file, unless there are `count`.
    """
    flags = read_table(path).ravel()
    if len(flags) != count:
        raise ValueError(f'{path} has {len(flags)} numbers for {count} boxes')
    return flags


def absent_where_empty(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the boxes (n, 4) with NaN for those without extent, which say: no target here."""
    known = boxes.copy()
    with np.errstate(invalid='ignore'):
        known[np.flatnonzero((boxes[:, 2:] <= 0).any(axis=1))] = np.nan
    return known
