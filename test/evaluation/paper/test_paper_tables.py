# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import numpy as np
import pytest

from hcat_ros.evaluation.paper.accuracy import Result
from hcat_ros.evaluation.paper.report import Measuring, document, render_markdown
from hcat_ros.evaluation.paper.systems import SYSTEMS, Cost
from hcat_ros.evaluation.paper.tables import PaperFindings, PaperTable, tables
from hcat_ros.evaluation.paper.turns import AUTHORS, OURS, TimedRow

COST = Cost(9_956_934, 3_420_000_000, 2_960_000_000, 2_940_000_000)
SECONDS = {
    TimedRow('hcat', 'onnxruntime', AUTHORS): np.full(4, 1 / 45),
    TimedRow('hcat', 'torch', AUTHORS): np.full(4, 1 / 30),
    TimedRow('hcat', 'onnxruntime', OURS): np.full(4, 1 / 60),
}
LASOT = Result('LaSOT', 'lasot', 280, {'success AUC': 0.593, 'precision': 0.305})


def table(findings: PaperFindings, words: str) -> PaperTable:
    (found,) = [table for table in tables(findings) if words in table.title]
    return found


def triple(found: PaperTable, system: str, figure: str) -> tuple[str, ...]:
    (row,) = [row for row in found.rows if row[0] == SYSTEMS[system] and figure in row]
    return row[-3:]


def test_each_measured_speed_is_beside_the_published_one() -> None:
    findings = PaperFindings({'hcat': COST, 'hcat_n1': COST}, SECONDS)
    platforms = table(findings, '(table 2)')
    onnx, torch = (f'{name} on CPU (i9-9900K), fps' for name in ('ONNX Runtime', 'PyTorch'))
    assert triple(platforms, 'hcat', onnx) == ('90', '45.0 (45.0-45.0)', '0.50')
    assert triple(platforms, 'hcat', torch) == ('45', '30.0 (30.0-30.0)', '0.67')
    assert triple(platforms, 'hcat_n1', onnx) == ('104', 'not measured', '-')
    assert triple(platforms, 'hcat_n1', torch) == ('not at hand', 'not measured', '-')
    gpu = triple(platforms, 'hcat', 'ONNX Runtime on GPU (Titan RTX), fps')
    assert gpu == ('589', 'needs a GPU', '-')


def test_accuracy_comes_from_results_or_names_the_missing_data() -> None:
    findings = PaperFindings({'hcat': COST}, {}, {'hcat': [LASOT]})
    trackers = table(findings, '(table 1)')
    assert triple(trackers, 'hcat', 'LaSOT, AUC, %') == ('59.3', '59.3 (280 sequences)', '1.00')
    assert triple(trackers, 'hcat', 'LaSOT, precision, %')[1:] == ('30.5 (280 sequences)', '0.50')
    needs = triple(trackers, 'hcat', 'GOT-10k, AO, %')
    assert needs == ('65.1', 'needs GOT-10k and weights', '-')
    parts = table(PaperFindings({'baseline': COST}), '(table 6)')
    unknown = ('not at hand', 'needs LaSOT and weights', '-')
    assert triple(parts, 'baseline', 'LaSOT AUC, %') == unknown


def test_figures_of_transt_taken_from_hit_name_their_source() -> None:
    trackers = table(PaperFindings({'transt': COST}), '(table 1)')
    for figure, value in (('CPU (i9-9900K)', 5), ('AGX Xavier', 13)):
        published = triple(trackers, 'transt', f'PyTorch on {figure}, fps')[0]
        assert published == f'{value} (HiT, arXiv 2308.06904)'


def test_results_on_data_outside_the_paper_are_shown() -> None:
    mine = Result('one pass', 'eval', 7, {'AO': 0.648, 'SR 0.5': 0.8})
    findings = PaperFindings({'hcat': COST}, {}, {'hcat': [mine]})
    (row,) = table(findings, 'does not report').rows
    assert row == (SYSTEMS['hcat'], 'eval (one pass)', 'AO', '0.648', '7')


def test_only_tables_with_selected_systems_are_printed() -> None:
    titles = [found.title for found in tables(PaperFindings({'transt': COST}))]
    assert [title for title in titles if 'table 6' in title or 'table 8' in title] == []
    assert any('table 7' in title for title in titles)
    every = tables(PaperFindings(dict.fromkeys(SYSTEMS, COST)))
    for number in (1, 2, 6, 7, 8, 9):
        assert any(f'(table {number})' in found.title for found in every)
    assert len(every[0].rows) == len(SYSTEMS)
    for found in every:
        assert {len(row) for row in found.rows} == {len(found.head)}


def test_the_page_states_the_measuring_method_and_missing_systems() -> None:
    findings = PaperFindings({'hcat': COST}, SECONDS)
    measuring = Measuring(4, 0.1, 2, rested=False)
    text = render_markdown(findings, 'a machine', measuring, {'hcat_mobilenetv2': 'no\ntimm'})
    assert 'run of 4 rounds on the CPU, 2 threads, a turn of about 0.1 s' in text
    assert 'never came to rest' in text
    assert '- hcat_mobilenetv2: no timm' in text
    assert '| HCAT (N = 2, S = 16, stride 16) | 9.96 | 3.42 | 2.96 | 2.94 | 45.0 (' in text
    assert (
        "| ONNX Runtime against PyTorch, the authors' form | 2.00 | 1.50 (1.50-1.50) | yes" in text
    )
    assert '1 of 16 systems were built' in text
    assert 'hold here: yes: 1. Accuracy: 0 of' in text
    quiet = render_markdown(PaperFindings({'hcat': COST}), 'a machine', None, {})
    assert 'interleaved' not in quiet
    assert 'hold here: not measured' in quiet


def test_all_numbers_are_in_the_document() -> None:
    findings = PaperFindings({'hcat': COST}, SECONDS, {'hcat': [LASOT]})
    content = json.loads(json.dumps(document(findings, Measuring(4, 0.1, 0, True), {'a': 'b'})))
    assert content['costs']['hcat']['parameters'] == 9_956_934
    row = next(row for row in content['rows'] if row['form'] == OURS)
    assert row['ms'] == pytest.approx(1e3 / 60)
    assert len(row['rounds_ms']) == 4
    assert [claim['holds'] for claim in content['claims']] == ['yes']
    assert content['results']['hcat'][0]['sequences'] == 280
    assert content['missing'] == {'a': 'b'}
