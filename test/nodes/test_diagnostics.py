# SPDX-License-Identifier: Apache-2.0
import time

import pytest

pytest.importorskip('diagnostic_msgs', reason='needs ROS 2')

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor

from hcat_ros.nodes import diagnostics
from hcat_ros.nodes.diagnostics import (
    LONGEST,
    WINDOW,
    Drops,
    Health,
    NodeDiagnostics,
    Refusals,
    Statistics,
    shorten,
)
from hcat_ros.nodes.lifecycle import GuardedLifecycleNode


def test_report_contains_counts_rates_and_percentiles() -> None:
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
    statistics.record_problem('refused images', 'a')
    statistics.record_problem('refused images', 'b')
    report = statistics.report(1.0)
    assert (report['refused images'], report['last problem']) == ('2', 'b')


def test_the_same_refusal_with_another_number_is_logged_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(diagnostics.time, 'monotonic', lambda: now[0])
    lines: list[str] = []
    refusals = Refusals(lines.append)
    for number in range(100):  # 4 s of two kinds in turn
        now[0] += 0.04
        kind = 'of 7{} bytes cannot be decoded' if number % 2 else 'is 0.{} s old'
        refusals.add('refused images', 'image ' + kind.format(number))
    assert lines == ['image is 0.0 s old', 'image of 713 bytes cannot be decoded']
    assert refusals.statistics.counts['refused images'] == 100
    now[0] += 5
    refusals.add('refused images', 'image is 9.9 s old')
    assert lines[2:] == ['image is 9.9 s old']


def test_published_status_of_a_node(ros: None) -> None:
    node = GuardedLifecycleNode('observed')
    refusals = Refusals(node.get_logger().warning, ('images', 'tracks'))
    described: list[Health | None] = [None]
    reports = NodeDiagnostics(node, 'tracking', lambda: described[0], refusals)
    reports.set_period(0.05)
    graph = rclpy.create_node('listener')
    arrays: list[DiagnosticArray] = []
    graph.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, 10)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    executor.add_node(graph)

    def newest(message: str) -> DiagnosticStatus:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.1)
            if arrays and arrays[-1].status[0].message == message:
                return arrays[-1].status[0]
        raise AssertionError(f'{message!r} never came, the last is {arrays[-1:]}')

    try:
        status = newest('unconfigured')
        assert (status.level, status.name) == (DiagnosticStatus.OK, 'observed: tracking')
        values = {value.key: value.value for value in status.values}
        assert (values['lifecycle'], values['images'], values['tracks']) == (
            'unconfigured',
            '0',
            '0',
        )
        assert 'failure' not in values
        node.failure = 'no model'
        status = newest('no model')
        assert status.level == DiagnosticStatus.ERROR
        reports.hardware, reports.standing = 'cpu', {'model': 'm'}
        described[0] = Health(DiagnosticStatus.WARN, 'lost', {'score': '0.1'})
        refusals.statistics.count('images')
        status = newest('lost')
        assert (status.level, status.hardware_id) == (DiagnosticStatus.WARN, 'cpu')
        values = {value.key: value.value for value in status.values}
        assert (values['model'], values['score'], values['images']) == ('m', '0.1', '1')
        assert arrays[-1].header.stamp.sec > 0
    finally:
        executor.shutdown()
        node.destroy_node()
        graph.destroy_node()


def test_drops_are_gaps_in_the_publication_sequence_numbers() -> None:
    publishers = 1
    drops = Drops(lambda: publishers)
    numbers = (5, 6, 9, 2, 3, 5)
    found = [drops.count_before({'publication_sequence_number': number}) for number in numbers]
    assert found == [0, 0, 2, 0, 0, 1]
    publishers = 2
    assert drops.count_before({'publication_sequence_number': 50}) == 0
    assert drops.count_before({}) == 0, 'Humble'


def test_a_reason_is_one_line_of_bounded_length() -> None:
    assert shorten("encoding 'a\nb' is\tnot") == "encoding 'a b' is not"
    assert len(shorten('x' * 10**6)) < LONGEST + 10
