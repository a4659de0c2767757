# SPDX-License-Identifier: Apache-2.0
"""tools/hazards.py, which `make hazards` runs: one hazard, and the judgement of what is safe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('onnxruntime', reason='an engine runs here')


@pytest.fixture
def hazards(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(checkout / 'tools'))
    import hazards

    yield hazards
    for name in ('hazards', 'hazard_cases', 'demo'):
        sys.modules.pop(name, None)


def test_a_frozen_camera_stops_the_robot(
    hazards: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(hazards, 'AFTER', 4.0)
    page = tmp_path / 'page.md'
    monkeypatch.setattr(sys, 'argv', ['hazards.py', '--only', 'frozen', '--out', str(page)])
    # A busy machine takes longer to stop; required here are the stop and the reason on the page.
    monkeypatch.setattr(hazards, 'LIMIT', 1.5)
    assert hazards.main() == 0, capsys.readouterr().out
    assert 'is the camera frozen?' in page.read_text()


@pytest.mark.parametrize(
    ('zero_after', 'off', 'may_move', 'expected'),
    [
        (0.4, 1.0, False, True),
        (1.7, 0.0, True, False),
        (None, 0.05, True, True),
        (None, 0.05, False, False),
        (None, 0.5, True, False),
        (None, float('nan'), True, False),
    ],
)
def test_outcomes_are_judged_safe_or_unsafe(
    hazards: Any, zero_after: float | None, off: float, may_move: bool, expected: bool
) -> None:
    hazard = hazards.Hazard('one', may_move=may_move)
    assert hazards.safe(hazard, hazards.Outcome(0.0, 0.0, zero_after, off, '')) == expected
