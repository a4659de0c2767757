# SPDX-License-Identifier: Apache-2.0
"""Tables as GitHub's specification of Markdown has them."""

from hcat_ros.markdown import markdown_table, table_head, table_row


def test_columns_beyond_the_alignment_are_numbers() -> None:
    text = markdown_table(('model', 'AO', 'note'), [('x', '0.650', 'y'), ('z', '1', '')], 'lrl')
    assert text == '| model | AO | note |\n|---|---:|---|\n| x | 0.650 | y |\n| z | 1 |  |'
    assert table_head(('a', 'b', 'c')).splitlines()[1] == '|---|---:|---:|'


def test_a_cell_stays_in_its_cell() -> None:
    assert table_row(['a|b', 'two\nlines']) == r'| a\|b | two lines |'
    assert table_row([r'a\|b']) == r'| a\|b |'


def test_row_by_row_is_the_same_table() -> None:
    rows = [('1', '2'), ('3', '4')]
    streamed = '\n'.join([table_head(('x', 'y')), *map(table_row, rows)])
    assert streamed == markdown_table(('x', 'y'), rows)
