# SPDX-License-Identifier: Apache-2.0
"""The soak test, tools/soak.py: its limits on recorded samples, and a short run."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('onnxruntime', reason='an engine runs here')


@pytest.fixture
def report(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `soak_report`."""
    monkeypatch.syspath_prepend(str(checkout / 'tools'))
    return pytest.importorskip('soak_report')


def samples(report: Any, count: int = 40, **per_sample: float) -> list[Any]:
    """Return a sample per minute; per_sample: growth of a value from one sample to the next."""
    steady = report.Sample(0.0, 200.0, 10.0, 26, 17, 1800, 15.0, 20.0)
    grown = {'seconds': 60.0, **per_sample}
    return [
        steady._replace(**{name: getattr(steady, name) + n * by for name, by in grown.items()})
        for n in range(count)
    ]


def test_a_steady_node_is_within_the_limits(report: Any) -> None:
    found = report.judge(samples(report), report.Limits(120, 1.0, 1.5))
    assert found.problems == []
    assert found.slope == pytest.approx(0)


@pytest.mark.parametrize(
    ('per_sample', 'problem'),
    [
        ({'resident': 0.05}, 'memory grows by 3.0 MB an hour, over 1'),
        ({'descriptors': 1}, 'descriptors grew by'),
        ({'threads': 0.1}, 'threads grew by'),
        ({'p99': 1.0}, 'p99 rose from'),
        ({'detections': -1800}, 'no detection in 1 of'),
    ],
)
def test_growing_values_are_reported(
    report: Any, per_sample: dict[str, float], problem: str
) -> None:
    found = report.judge(samples(report, **per_sample)[:41], report.Limits(0, 1.0, 1.5))
    assert any(text.startswith(problem) for text in found.problems), found.problems


def test_growth_during_warm_up_is_ignored(report: Any) -> None:
    grown = [*samples(report, 10, resident=5.0), *samples(report)[10:]]
    assert report.judge(grown, report.Limits(600, 1.0, 1.5)).problems == []
    assert report.judge(grown, report.Limits(0, 1.0, 1.5)).problems == []  # falls back


def test_run_with_too_few_samples_is_an_error(report: Any) -> None:
    with pytest.raises(ValueError, match='5 samples after the warm-up'):
        report.judge(samples(report, 5), report.Limits(0, 1.0, 1.5))


def test_short_soak_passes_with_loose_limits(checkout: Path, tmp_path: Path) -> None:
    """Only a leak per frame or target exceeds these limits, since a busy machine is slow at times.

    Keeping every frame of 640x480 would use 100 000 MB an hour.
    """
    command = [sys.executable, str(checkout / 'tools' / 'soak.py'), '--out', str(tmp_path)]
    short = ['--minutes', '0.6', '--warm-up', '12', '--sample', '3', '--every', '2']
    loose = ['--max-slope', '2000', '--max-rise', '20', '--fps', '10']
    done = subprocess.run([*command, *short, *loose], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / 'soak.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 10
    assert all(float(row['resident']) > 50 for row in rows)
    assert cv2.imread(str(tmp_path / 'soak.png')) is not None
    assert 'a second) of' in done.stdout
    assert 'refused boxes' in done.stdout


def test_node_that_does_not_start_is_an_error(checkout: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(checkout / 'tools' / 'soak.py'), '--out', str(tmp_path)]
    done = subprocess.run(
        [*command, '--model', 'nope', '--limit', '4'], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert 'soak: first detection: not within 4 s' in done.stderr
