# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip('onnxruntime', reason='an engine runs here')


from hcat_ros.simulation.closed_loop import LoopScore


@pytest.fixture(scope='module')
def bench(checkout: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        'bench_follow', checkout / 'tools/bench_follow.py'
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules['bench_follow'] = module
    spec.loader.exec_module(module)
    return module


def test_finished_runs_are_stored_and_not_repeated(checkout: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(checkout / 'tools/bench_follow.py'), '--platforms', 'ground']
    command += ['--scenarios', 'straight', '--seeds', '2', '--seconds', '3', '--jobs', '1']
    command += ['--out', str(tmp_path)]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    kept = (tmp_path / 'follow.jsonl').read_text()
    assert len(kept.splitlines()) == 2
    assert '| ground | straight | ' in first.stdout
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / 'follow.jsonl').read_text() == kept
    assert second.stdout == first.stdout
    assert (tmp_path / 'follow.md').read_text() == first.stdout


def test_tables_show_means_over_seeds(bench: ModuleType) -> None:
    def case(seed: int, scenario: str = 'step', latency: float = 0.0) -> object:
        return bench.Case('drone', scenario, seed, latency, True, 9.0, '', 'hcat_base', 'int8')

    nan = float('nan')
    scores = {
        case(0): LoopScore(0.02, 1.0, 0, 0, 0.1, 1.0, 0.2, 0.1),
        case(1): LoopScore(0.04, 0.9, 0, 0, 0.3, 2.0, 0.4, 0.3),
        case(0, latency=0.15): LoopScore(0.05, 1.0, 0, 0, 0.5, 3.0, 0.1, nan),
        case(0, 'occlusion'): LoopScore(0.01, 1.0, 3, 2, nan, nan, nan, nan),
        replace(case(0), depth=True): LoopScore(0.5, 0.5, 0, 0, nan, nan, 0.06, 0.02),
    }
    text = bench.tables(scores)
    assert '| drone | step | 3.0% | 4.0% | 95.0% | 0 of 0 | 30.0% |' in text
    assert '| drone | occlusion | 1.0% | 1.0% | 100.0% | 2 of 3 | - |' in text
    assert '| drone | step | 0 ms | on | 3.0% | 20% | 1.50 s |' in text
    assert '| drone | step | 20.0% | 2.0% | 30.0% | 6.0% |' in text
    assert '| drone | step | 150 ms | on | 5.0% | 50% | 3.00 s |' in text
