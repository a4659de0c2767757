# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip('onnxruntime', reason='an engine runs here')


from hcat_ros.commands import benchmark
from hcat_ros.commands.main import main

SHORT = ['benchmark', '--frames', '3', '--size', '320', '240']


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding='utf-8'))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_the_table_the_json_file_and_the_plot_agree(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = ['--json', str(tmp_path / 'b.json'), '--plot', str(tmp_path / 'b.png')]
    engines = ['--engine', 'onnxruntime', 'onnxruntime-cuda']
    assert main([*SHORT, *engines, '--threads', '1', '2', *files]) == 0
    printed = capsys.readouterr().out
    assert printed.count('| hcat_base | onnxruntime ') == 2
    assert '3 frames of 320x240' in printed
    assert '- hcat_base, onnxruntime-cuda fp32: this ONNX Runtime has no CUDA' in printed

    content = read(tmp_path / 'b.json')
    assert (content['frames'], content['size']) == (3, [320, 240])
    assert 'hcat_base, onnxruntime-cuda fp32' in content['not_measured']
    assert [group['threads'] for group in content['groups']] == [1, 2]
    lines = [cells(line) for line in printed.splitlines() if line.startswith('| hcat_base')]
    for group, line in zip(content['groups'], lines):
        (row,) = group['rows']
        assert f'peak {group["peak_gflops"]:.0f} GFLOP/s' in printed
        for name, cell in zip(('search', 'crop', 'decode', 'update'), line[2:6]):
            times = row['stages'][name]
            assert 0 < times['median'] <= times['p95'] <= times['p99']
            assert cell == '{median:.2f} ({p95:.2f}, {p99:.2f})'.format(**times)
        assert row['ratio']['search'] == 1
        assert line[6:8] == ['1.00', '1.00']
        if hasattr(os, 'sched_setaffinity'):
            assert len(group['processors']) == min(group['threads'], len(os.sched_getaffinity(0)))
    assert cv2.imread(str(tmp_path / 'b.png')) is not None


def test_speed_ratios_are_relative_to_the_reference_graph(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for module in ('torch', 'onnx', 'safetensors'):
        pytest.importorskip(module, reason=f'needs {module}')
    path = tmp_path / 'b.json'
    assert main([*SHORT, '--threads', '1', '--reference', '--json', str(path)]) == 0
    printed = capsys.readouterr().out
    (group,) = read(path)['groups']
    assert [row['reference'] for row in group['rows']] == [True, False], printed
    reference, ours = group['rows']
    assert ours['ratio']['search'] == pytest.approx(
        reference['stages']['search']['median'] / ours['stages']['search']['median']
    )
    assert ours['same_weights_ratio'] == ours['ratio']['search']
    # The reference graph computes the template features again in every frame.
    assert reference['multiply_adds'] > ours['multiply_adds'] > 0
    giga = ours['multiply_adds'] / 1e9
    speed = 2 * giga / ours['stages']['search']['median'] * 1e3
    assert ours['share_of_peak'] == pytest.approx(speed / group['peak_gflops'])
    assert '| hcat_base | reference graph, onnxruntime' in printed


def test_a_model_without_weights_is_timed_without_its_reference_graph(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, checkout: Path
) -> None:
    pytest.importorskip('torch', reason='needs PyTorch')
    folder = tmp_path / 'bare'
    folder.mkdir()
    for path in (checkout / 'models' / 'hcat_base').iterdir():
        if path.suffix != '.safetensors':
            (folder / path.name).symlink_to(path)
    assert main([*SHORT, '--model', str(folder), '--threads', '1', '--reference']) == 0
    printed = capsys.readouterr().out
    assert f'- hcat_base, reference graph: no {folder}/weights.safetensors' in printed
    assert printed.count('| hcat_base |') == 1


def test_the_measured_peak_of_the_processor_is_plausible() -> None:
    assert 0.1 < benchmark.peak_gflops() < 100_000


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['--frames', '0'], '--frames of 1 or more'),
        (['--threads', '-1'], 'threads -1: expected 0 (one per core) to 256'),
        (['--size', '40000', '40000'], '--size 40000 40000: expected at most 100000000 pixels'),
        (['--threads', '100000'], 'threads 100000: expected 0 (one per core) to 256'),
        (['--plot', 'speed.pdf'], '--plot speed.pdf: expected a name that ends in .png'),
        (['--weights', 'w', '--model', 'hcat_base', 'hcat_base'], '--weights needs exactly one'),
        (['--model', 'nope'], "no model 'nope'"),
        (['--engine', 'abacus', '--threads', '1'], "no engine 'abacus'"),
        (['--precision', 'fp8', '--threads', '1'], "no precision 'fp8'"),
    ],
)
def test_invalid_arguments_are_reported_and_the_cpu_affinity_stays(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    affinity = os.sched_getaffinity(0) if hasattr(os, 'sched_getaffinity') else None
    assert main([*SHORT, *arguments]) == 1
    assert reason in capsys.readouterr().err
    if affinity:
        assert os.sched_getaffinity(0) == affinity
