# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('diagnostic_msgs', reason='needs ROS 2')

from diagnostic_msgs.msg import DiagnosticStatus

from hcat_ros.nodes import diagnostics
from hcat_ros.nodes.diagnostics import Statistics
from hcat_ros.nodes.tracker.health import COUNTED, tracking_health


def test_diagnostic_level_follows_the_most_serious_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ok, warn, error = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
    statistics = Statistics(COUNTED)
    assert tracking_health(statistics, 0.0, 'no target') == (ok, 'no target')
    assert tracking_health(statistics, 0.0, 'tracking') == (ok, 'tracking')
    assert tracking_health(statistics, 0.0, 'target lost') == (warn, 'target lost')
    assert tracking_health(statistics, 3.2, 'tracking') == (warn, 'no image for 3 s')
    statistics.record_problem('refused boxes', 'box refused')
    assert tracking_health(statistics, 0.0, 'tracking') == (warn, 'tracking; box refused')
    statistics.record_problem('failed frames', 'out of memory')
    assert tracking_health(statistics, 3.2, 'tracking') == (error, 'engine failing: out of memory')
    statistics.count_track()
    assert tracking_health(statistics, 0.0, 'tracking') == (warn, 'tracking; out of memory')
    monkeypatch.setattr(diagnostics, 'LATELY', 0.0)
    assert tracking_health(statistics, 0.0, 'tracking') == (ok, 'tracking')
