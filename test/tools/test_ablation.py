# SPDX-License-Identifier: Apache-2.0
"""`make ablation`: its tables, and a whole run of it on a tiny network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnxslim', reason='needs onnxslim')

from hcat_ros.network import HCAT, HCATConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools'))
import ablation_table

NETWORK = {
    'backbone': 'resnet18',
    'channels': 32,
    'heads': 4,
    'ffn_channels': 32,
    'layers': 1,
    'template_size': 64,
    'search_size': 128,
    'sparsification': False,
}
SCHEDULE = {'steps': 9, 'batch': 4, 'groups': 2, 'views': 2, 'workers': 0, 'trained_blocks': 0}


def result(row: str, seed: int, *overlaps: float) -> dict[str, Any]:
    ao = {f'{number}': overlap for number, overlap in enumerate(overlaps)}
    kept = {'iou': 0.5, 'hits': 0.8, 'wrong_hits': 0.6}
    return {'row': row, 'seed': seed, 'ao': ao, 'parameters': 1_500_000, **kept}


def test_tables_match_known_results() -> None:
    overlaps = {
        'baseline': (0.40, 0.44, 0.48),
        'hierarchical': (0.46, 0.49, 0.55),
        'fs': (0.45, 0.54, 0.48),
    }
    runs = {
        (row, seed): result(row, seed, value - 0.01, value + 0.01)
        for row, values in overlaps.items()
        for seed, value in enumerate(values, 1)
    }
    lines = ablation_table.tables(runs).splitlines()
    cells = ('Baseline', '1.50 M', '0.440 ± 0.040', '0.400', '0.480', '0.400, 0.440, 0.480')
    assert lines[2] == f'| {" | ".join((*cells, "0.800", "0.600", "0.500"))} |'
    # 0.06, 0.05, 0.07: deviation 0.01, Student's 4.303 x 0.01 / sqrt(3) = 0.025.
    assert lines[-2] == (
        '| +Hierarchical against Baseline | +0.060 ± 0.010 | +0.035 to +0.085 '
        '| +0.060, +0.050, +0.070 | helps |'
    )
    assert lines[-1].startswith('| +FS against +Hierarchical | -0.010 ± 0.060 | -0.159 to +0.139 |')
    assert lines[-1].endswith('| not shown: the interval holds 0 |')
    worse = {run: result(*run, *reversed(r['ao'].values())) for run, r in runs.items()}
    for seed in (1, 2, 3):
        worse['hierarchical', seed], worse['baseline', seed] = (
            worse['baseline', seed],
            worse['hierarchical', seed],
        )
    assert '| harms |' in ablation_table.tables(worse)


def test_one_seed_shows_no_difference() -> None:
    runs = {(row, 1): result(row, 1, value) for row, value in (('baseline', 0.3), ('fs', 0.9))}
    runs['hierarchical', 1] = result('hierarchical', 1, 0.6)
    text = ablation_table.tables(runs)
    assert '| +0.300 ± ? | one seed | +0.300 | not shown' in text
    assert 'Baseline-SA' not in text


def test_run_resumes_and_refuses_a_changed_budget(
    checkout: Path, tmp_path: Path, sequence: Callable[..., Path]
) -> None:
    for number in range(2):
        sequence(tmp_path / 'train' / 'video' / f'clip_{number}', 6, number)
    sequence(tmp_path / 'eval' / 'clip', 4, 9)
    configs = tmp_path / 'configs'
    configs.mkdir()
    data = [{'share': 1, 'root': str(checkout / 'data' / 'train' / 'video')}]
    for row, more in (('baseline', {'hierarchical': False}), ('hierarchical', {})):
        run = {'network': {**NETWORK, **more}, 'data': data, 'schedule': SCHEDULE}
        (configs / f'{row}.yaml').write_text(json.dumps(run))
    torch.manual_seed(0)
    backbone = HCAT(HCATConfig(**NETWORK)).backbone.state_dict()
    torch.save(backbone, tmp_path / 'resnet18.pth')

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(checkout / 'tools' / 'ablation.py')]
        places = {'data': 'train', 'eval': 'eval', 'configs': 'configs', 'out': 'out'}
        for name, place in places.items():
            command += [f'--{name}', str(tmp_path / place)]
        command += ['--backbone', str(tmp_path / 'resnet18.pth'), '--jobs', '1', '--groups', '4']
        command += ['--held-out', '2', '--rows', 'baseline', 'hierarchical', *arguments]
        path = os.pathsep.join([str(checkout), os.environ.get('PYTHONPATH', '')])
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': path}
        return subprocess.run(command, env=environment, text=True, capture_output=True)

    done = run('--pairs', '8', '--seeds', '1')
    assert done.returncode == 0, done.stderr
    results = tmp_path / 'out' / 'results.jsonl'
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(row['row'], row['seed']) for row in rows] == [('baseline', 1), ('hierarchical', 1)]
    for row in rows:
        # Hardly trained, it may lose the target in the first frame.
        assert 0 <= row['ao']['0.3'] == row['sequences']['0.3']['clip'] < 1
        assert all(0 <= row[name] <= 1 for name in ('iou', 'hits', 'wrong_hits'))
        card = tmp_path / 'out' / 'runs' / f'{row["row"]}-1' / 'model' / 'model.yaml'
        assert 'window_penalty: 0.3' in card.read_text()
    assert rows[0]['parameters'] == rows[1]['parameters']
    assert 'Each run: 8 pairs of 4 groups of views' in done.stdout
    assert '| +Hierarchical against Baseline |' in done.stdout
    assert (tmp_path / 'out' / 'ablation.md').read_text() == done.stdout.rstrip('\n') + '\n'

    again = run('--pairs', '8', '--seeds', '1')
    assert again.stdout == done.stdout
    assert 'step' not in again.stderr  # nothing is trained again
    refused = run('--pairs', '16', '--seeds', '1')
    assert refused.returncode != 0
    assert "'pairs': 8" in refused.stderr
    assert 'take another --out' in refused.stderr
