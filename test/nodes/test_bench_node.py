# SPDX-License-Identifier: Apache-2.0
"""tools/bench_node.py, which measures the tracker node: a process, real DDS, few frames."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('onnxruntime', reason='an engine runs here')


def bench(checkout: Path, *arguments: str) -> 'subprocess.CompletedProcess[str]':
    command = [sys.executable, str(checkout / 'tools' / 'bench_node.py'), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_short_run_reports_start_time_latency_and_memory(checkout: Path, tmp_path: Path) -> None:
    path = tmp_path / 'node.json'
    few = ['--starts', '2', '--frames', '5', '--fps', '10', '--size', '320', '240']
    done = bench(checkout, *few, '--json', str(path))
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text(encoding='utf-8'))
    assert len(found['starts']) == 2
    for start in found['starts']:
        assert 0 < start['seen'] <= start['active'] <= start['detection']
        assert start['processor'] > 0
    times = found['latency_ms']
    assert 0 < times['median'] <= times['p95'] <= times['p99']
    assert list(found['memory_mb']) == ['first detection', '5 images later']
    for parts in found['memory_mb'].values():
        assert parts['resident'] == pytest.approx(
            parts['own'] + parts['files'] + parts['shared'], abs=0.1
        )
        assert 0 < parts['private'] < parts['resident']
    assert 'start to first detection, median of 2' in done.stdout
    assert f'{times["median"]:.1f} ms' in done.stdout


def test_unknown_model_is_an_error_at_once(checkout: Path) -> None:
    done = bench(checkout, '--starts', '1', '--model', 'nope')
    assert done.returncode == 2
    assert "--model: no model 'nope'" in done.stderr


def test_node_that_does_not_appear_in_time_is_an_error(checkout: Path) -> None:
    done = bench(checkout, '--starts', '1', '--limit', '0.01')
    assert done.returncode == 1
    assert 'bench_node: node: not within 0.01 s' in done.stderr
