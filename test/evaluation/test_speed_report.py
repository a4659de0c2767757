# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from hcat_ros.evaluation.speed import Quantiles
from hcat_ros.evaluation.speed_report import SpeedRow, SpeedTable, chart, document, table


def row(model: str, search: float, reference: bool = False, giga: float | None = None) -> SpeedRow:
    stages = {
        'crop': Quantiles(1.0, 1.5, 2.0),
        'search': Quantiles(search, 1.1 * search, 1.2 * search),
        'decode': Quantiles(1.0, 1.0, 1.0),
        'update': Quantiles(search + 2, search + 3, search + 4),
    }
    adds = None if giga is None else round(giga * 1e9)
    return SpeedRow(model, 'onnxruntime 1.0', 'fp32', reference, stages, adds)


ONE = SpeedTable(
    1, [0], 100.0, True, [row('paper', 60, True, 3.0), row('own', 20, True, 0.8), row('own', 10)]
)
TWO = SpeedTable(2, [0, 1], 200.0, True, [row('own', 18.0, giga=0.8), row('own', 9.0, giga=0.8)])


def test_ratios_are_relative_to_the_first_row_of_the_group() -> None:
    assert [ONE.ratio(row, 'search') for row in ONE.rows] == pytest.approx([1, 3, 6])
    assert [ONE.ratio(row, 'update') for row in ONE.rows] == pytest.approx([1, 62 / 22, 62 / 12])
    assert [TWO.ratio(row, 'search') for row in TWO.rows] == pytest.approx([1, 2])


def test_same_weights_ratios_are_relative_to_the_reference_of_the_model() -> None:
    assert [ONE.same_weights_ratio(row) for row in ONE.rows] == pytest.approx([1, 1, 2])
    assert [TWO.same_weights_ratio(row) for row in TWO.rows] == [None, None]


def test_the_share_of_the_peak_counts_two_operations_per_multiply_add() -> None:
    # 3 G multiply-adds in 60 ms are 100 GFLOP/s.
    assert [ONE.share_of_peak(row) for row in ONE.rows] == pytest.approx([1, 0.8, None])


def test_the_table_has_medians_percentiles_and_ratios() -> None:
    lines = table(ONE).splitlines()
    assert 'search, ratio, same weights' in lines[0]
    assert lines[4] == (
        '| own | onnxruntime 1.0 fp32 | 10.00 (11.00, 12.00) | 1.00 (1.50, 2.00) | '
        '1.00 (1.00, 1.00) | 12.00 (13.00, 14.00) | 6.00 | 5.17 | 2.00 | - | - |'
    )
    assert '| paper | reference graph, onnxruntime 1.0 fp32 |' in lines[2]
    assert lines[2].endswith('| 1.00 | 1.00 | 1.00 | 3.00 | 100% |')
    assert {line.count('|') for line in lines} == {lines[0].count('|')}


def test_the_table_leaves_out_a_redundant_ratio() -> None:
    with_own = SpeedTable(1, [0], 100.0, True, [row('own', 20, True), row('own', 10)])
    assert 'same weights' not in table(TWO)
    assert 'same weights' not in table(with_own)


def test_titles_name_threads_and_processors() -> None:
    assert ONE.title == '1 thread on CPU 0'
    assert TWO.title == '2 threads on CPU 0, 1'
    assert SpeedTable(2, [], 1.0, True, []).title == '2 threads'
    assert SpeedTable(0, [], 1.0, True, []).title == "each runtime's own number of threads"


def test_the_json_document_has_all_computed_values() -> None:
    content = json.loads(json.dumps(document(ONE)))
    assert content['threads'] == 1
    assert content['processors'] == [0]
    assert content['peak_gflops'] == 100.0
    first, _, last = content['rows']
    assert first['stages']['search'] == {'median': 60, 'p95': 66, 'p99': 72}
    assert first['reference'] is True
    assert last['ratio'] == pytest.approx({'crop': 1, 'search': 6, 'decode': 1, 'update': 62 / 12})
    assert last['same_weights_ratio'] == 2
    assert last['multiply_adds'] is None
    assert last['share_of_peak'] is None


def test_the_chart_has_one_bar_per_row_with_its_time() -> None:
    pytest.importorskip('matplotlib', reason="needs matplotlib (pip install 'hcat_ros[evaluate]')")
    first, second = chart([ONE, TWO]).axes
    assert [bar.get_width() for axes in (first, second) for bar in axes.patches] == [
        60, 20, 10, 18, 9
    ]  # fmt: skip
    assert first.get_title(loc='left') == '1 thread on CPU 0, peak 100 GFLOP/s'
    labels = [text.get_text() for text in first.texts]
    assert labels[0].endswith('1.00x')
    assert labels[-1].endswith('6.00x')
