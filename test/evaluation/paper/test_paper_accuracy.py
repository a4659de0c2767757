# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hcat_ros.commands.main import main
from hcat_ros.evaluation.paper.accuracy import Result, percent_of, read_results
from hcat_ros.evaluation.paper.figures import BENCHMARKS
from hcat_ros.evaluation.protocols import PROTOCOLS


def run(title: str, protocol: str = 'LaSOT', **measures: float) -> dict[str, Any]:
    configuration = {'protocol': protocol, 'data': {'folder': 'x', 'sequences': 280}}
    return {'title': title, 'configuration': configuration, 'measures': measures}


def write(folder: Path, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / 'results.json').write_text(text)
    return folder


def test_results_of_hcat_evaluate_are_read(tmp_path: Path, sequence: Callable[..., Path]) -> None:
    pytest.importorskip('jinja2', reason='needs jinja2 for the report')
    sequence(tmp_path / 'data' / 'clip')
    out = tmp_path / 'out'
    assert main(['evaluate', str(tmp_path / 'data'), '--tracker', 'still', '--out', str(out)]) == 0
    (result,) = read_results([f'hcat={out}'])['hcat']
    assert (result.protocol, result.data, result.sequences) == ('one pass', 'data', 1)
    assert 0 < result.measures['AO'] < 1


def test_the_tracker_with_the_name_of_the_system_is_used(tmp_path: Path) -> None:
    runs = [run('other', AO=0.1), run('hcat_n1', AO=0.2)]
    folder = write(tmp_path / 'r', runs)
    single = write(tmp_path / 's', [run('anything', AO=0.3)])
    found = read_results([f'hcat_n1={folder}', f'hcat_n1={single}', f'hcat={single}'])
    assert [result.measures['AO'] for result in found['hcat_n1']] == [0.2, 0.3]
    assert [result.measures['AO'] for result in found['hcat']] == [0.3]
    with pytest.raises(ValueError, match=r"no tracker 'hcat', only other, hcat_n1"):
        read_results([f'hcat={folder}'])


@pytest.mark.parametrize('text', ['nope=x', 'hcat', 'hcat=', '=x'])
def test_malformed_results_arguments_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"--results '{text}': expected NAME=FOLDER"):
        read_results([text])


@pytest.mark.parametrize('content', ['{', '[]', '[1]', '{"a": 1}', [{'title': 'hcat'}]])
def test_broken_and_missing_result_files_are_named(tmp_path: Path, content: Any) -> None:
    folder = write(tmp_path / 'r', content)
    with pytest.raises(ValueError) as error:
        read_results([f'hcat={folder}'])
    assert str(folder / 'results.json') in str(error.value)
    with pytest.raises(FileNotFoundError, match='hcat evaluate'):
        read_results([f'hcat={tmp_path / "none"}'])


def test_every_benchmark_of_the_paper_is_scored_by_evaluate() -> None:
    by_title = {protocol.title: protocol for protocol in PROTOCOLS.values()}
    for benchmark in BENCHMARKS:
        if benchmark.key != 'EAO':  # EAO comes from --multi-start
            assert benchmark.key in by_title[benchmark.protocol].measures
        result = Result(benchmark.protocol, 'vot2020', 3, {benchmark.key: 0.5})
        assert percent_of([result], benchmark) == (50.0, 3)
        assert percent_of([], benchmark) is None
    vot = BENCHMARKS[-1]
    assert percent_of([Result(vot.protocol, 'vot2018', 3, {'EAO': 0.5})], vot) is None
