# SPDX-License-Identifier: Apache-2.0
"""Tables follow GitHub's Markdown specification."""

from hcat_ros.markdown import markdown_table, table_head, table_row


def test_columns_without_alignment_are_right_aligned() -> None:
    text = markdown_table(('model', 'AO', 'note'), [('x', '0.650', 'y'), ('z', '1', '')], 'lrl')
    assert text == '| model | AO | note |\n|---|---:|---|\n| x | 0.650 | y |\n| z | 1 |  |'
    assert table_head(('a', 'b', 'c')).splitlines()[1] == '|---|---:|---:|'


def test_pipe_and_line_break_do_not_split_a_cell() -> None:
    assert table_row(['a|b', 'two\nlines']) == r'| a\|b | two lines |'
    assert table_row([r'a\|b']) == r'| a\|b |'


def test_rows_written_one_by_one_give_the_same_table() -> None:
    rows = [('1', '2'), ('3', '4')]
    streamed = '\n'.join([table_head(('x', 'y')), *map(table_row, rows)])
    assert streamed == markdown_table(('x', 'y'), rows)
