# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('diagnostic_msgs', reason='needs ROS 2')

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from hcat_ros.nodes.diagnostics import WINDOW, Statistics, diagnostic_array


def test_counts_rates_and_percentiles() -> None:
    statistics = Statistics()
    statistics.count('images', 30)
    for value in range(1, 102):
        statistics.sample('crop', value / 1000)
    report = statistics.report(2.0)
    assert report['images'] == '30'
    assert report['images rate [1/s]'] == '15.0'
    assert report['crop p50/p95/p99 [ms]'] == '51.0 / 96.0 / 100.0'
    statistics.count('images')
    assert statistics.report(1.0)['images rate [1/s]'] == '1.0'


def test_only_the_last_samples_count() -> None:
    statistics = Statistics()
    for value in [9.0] * 10 + [0.001] * WINDOW:
        statistics.sample('crop', value)
    assert statistics.report(1.0)['crop p50/p95/p99 [ms]'] == '1.0 / 1.0 / 1.0'


def test_the_last_problem_is_kept() -> None:
    statistics = Statistics()
    assert 'last problem' not in statistics.report(1.0)
    statistics.problem('refused images', 'a')
    statistics.problem('refused images', 'b')
    report = statistics.report(1.0)
    assert (report['refused images'], report['last problem']) == ('2', 'b')


def test_the_message() -> None:
    message = diagnostic_array(
        Time(sec=3), 'n: tracking', 'cpu', DiagnosticStatus.WARN, 'lost', {'score': '0.1'}
    )
    assert message.header.stamp.sec == 3
    status = message.status[0]
    assert (status.level, status.message) == (DiagnosticStatus.WARN, 'lost')
    assert (status.values[0].key, status.values[0].value) == ('score', '0.1')
