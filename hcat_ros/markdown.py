# SPDX-License-Identifier: Apache-2.0
"""Tables in Markdown, as a whole or row by row while results come."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_RULES = {'l': '---', 'r': '---:'}


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[str]], align: str = 'l') -> str:
    """Return a table; see `table_head`."""
    return '\n'.join((table_head(titles, align), *map(table_row, rows)))


def table_head(titles: Sequence[str], align: str = 'l') -> str:
    """Return the title line and the alignment line.

    Args:
        titles: a title for each column.
        align: `l` or `r` for each column; columns beyond its end are aligned right, for numbers.

    """
    rules = [_RULES[letter] for letter in align.ljust(len(titles), 'r')]
    return f'{table_row(titles)}\n|{"|".join(rules)}|'


def table_row(cells: Sequence[str]) -> str:
    """Return one row. Bars within cells are escaped, line breaks become spaces."""
    texts = (re.sub(r'(?<!\\)\|', r'\\|', ' '.join(cell.split('\n'))) for cell in cells)
    return f'| {" | ".join(texts)} |'
