# SPDX-License-Identifier: Apache-2.0
"""Number files in the formats that data sets use."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from data_sets import text

from hcat_ros.evaluation.annotation_files import (
    absent_where_empty,
    read_box_table,
    read_flags,
    read_table,
)
from hcat_ros.evaluation.benchmarks import vot_box
from hcat_ros.evaluation.result_files import read_boxes
from hcat_ros.evaluation.results import COLUMNS, read_result
from hcat_ros.evaluation.vot import read_anchors


@pytest.mark.parametrize(
    'content', ['1,2.5\n-3,4e1\n', '1\t2.5\r\n-3\t40\r\n', ' 1  2.5\n\n-3, 40', '1, 2.5\n-3\t40']
)
def test_tables_are_read_with_any_separator(tmp_path: Path, content: str) -> None:
    table = read_table(text(tmp_path / 'a.txt', content))
    assert table.dtype == np.float64
    assert table.tolist() == [[1, 2.5], [-3, 40]]


def test_boxes_are_read_without_loss_of_precision(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(50, 4)) * 1000
    lines = '\n'.join(','.join(map(repr, row)) for row in values.tolist())
    np.testing.assert_array_equal(read_box_table(text(tmp_path / 'a.txt', lines)), values)


def test_extra_columns_may_hold_text(tmp_path: Path) -> None:
    path = text(tmp_path / 'a.txt', '1 2 "ball"\n3 4 "a red ball" rolling\n')
    assert read_table(path, columns=2).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize('content', ['1,2\n3\n', 'x,y\n', '\x00\x01'])
def test_a_malformed_table_is_an_error_with_file_and_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r'a\.txt, line [12]'):
        read_table(text(tmp_path / 'a.txt', content))


def test_a_word_of_a_megabyte_is_shortened_in_every_message(tmp_path: Path) -> None:
    """Such as a minified web page in place of the file; reports repeat the message."""
    word = 'x' * 1_000_000
    path = text(tmp_path / 'a.txt', f'{word},2,3,4\n')
    text(tmp_path / 'a.csv', f'{",".join(COLUMNS)}\n0,{",".join(word[:100_000] for _ in range(9))}')
    text(tmp_path / 'b' / 'a.txt', f'{word},2,3,4\n')
    for read in (
        lambda: read_table(path),
        lambda: read_boxes(tmp_path / 'b', 'a', 1),
        lambda: read_result(tmp_path / 'a.csv'),
        lambda: read_anchors(path, 1),
        lambda: vot_box(f'{word},2,3,4'),
    ):
        with pytest.raises(ValueError, match='xxx') as error:
            read()
        assert len(str(error.value)) < 500


@pytest.mark.parametrize('content', ['', '1,2,3\n', '1,2,3,4,5\n'])
def test_boxes_have_four_numbers(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r'a\.txt: expected x y w h a line'):
        read_box_table(text(tmp_path / 'a.txt', content))


def test_eight_numbers_on_a_line_hint_at_decimal_commas(tmp_path: Path) -> None:
    (tmp_path / 'boxes.txt').write_text('1,5;2,5;10,0;11,0\n')
    with pytest.raises(ValueError, match='or replace decimal commas by points'):
        read_box_table(tmp_path / 'boxes.txt')


def test_flags_are_read_from_one_line_or_one_per_line(tmp_path: Path) -> None:
    for content in ('0,1,0', '0\n1\n0\n'):
        assert read_flags(text(tmp_path / 'a.txt', content), 3).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=r'a\.txt has 3 numbers for 4 boxes'):
        read_flags(tmp_path / 'a.txt', 4)


def test_boxes_without_extent_become_absent_and_the_input_stays_unchanged() -> None:
    boxes = np.array([[1, 2, 3, 4], [1, 2, 0, 4], [1, 2, 3, -1], [np.nan] * 4, [0, 0, 0.1, 0.1]])
    before = boxes.copy()
    absent = np.isnan(absent_where_empty(boxes)).all(axis=1)
    assert absent.tolist() == [False, True, True, True, False]
    np.testing.assert_array_equal(boxes, before)


def test_byte_order_marks_comments_and_utf_16_are_read(tmp_path: Path) -> None:
    path = tmp_path / 'a.txt'
    for content in (
        b'\xef\xbb\xbf1,2,3,4\n5,6,7,8\n',
        '1,2,3,4\n5,6,7,8\n'.encode('utf-16'),
        b'# x y w h\n1;2;3;4\n\n5;6;7;8\n',
    ):
        path.write_bytes(content)
        assert read_box_table(path).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_error_messages_name_the_line_and_the_value(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.txt, line 2: .*'two'; expected only numbers"):
        read_table(text(tmp_path / 'a.txt', '1,2,3,4\n1,two,3,4\n'))
    with pytest.raises(ValueError, match=r'a\.txt, line 2 has 3 numbers, the first row 4'):
        read_table(text(tmp_path / 'a.txt', '1,2,3,4\n1,2,3\n'))
    with pytest.raises(ValueError, match='got 8 numbers; try --benchmark vot'):
        read_box_table(text(tmp_path / 'a.txt', '1,2,3,4,5,6,7,8\n'))


def test_boxes_that_look_like_corners_give_a_warning(tmp_path: Path) -> None:
    """The target of 40 x 30 pixels moves through the image."""
    places = [(10.0 + 9 * step, 20.0 + 5 * step) for step in range(30)]
    corners = '\n'.join(f'{x},{y},{x + 40},{y + 30}' for x, y in places)
    with pytest.warns(UserWarning, match=r'a\.txt looks like x1 y1 x2 y2'):
        read_box_table(text(tmp_path / 'a.txt', corners))
    sizes = '\n'.join(f'{x},{y},{400 + x % 7},{300 + y % 5}' for x, y in places)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        read_box_table(text(tmp_path / 'a.txt', sizes))
