# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('diagnostic_msgs', reason='needs ROS 2')

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from hcat_ros.nodes import diagnostics
from hcat_ros.nodes.diagnostics import (
    COUNTED,
    LONGEST,
    WINDOW,
    Drops,
    Refusals,
    Statistics,
    diagnostic_array,
    health,
    shorten,
)


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


def test_the_message() -> None:
    message = diagnostic_array(
        Time(sec=3), 'n: tracking', 'cpu', DiagnosticStatus.WARN, 'lost', {'score': '0.1'}
    )
    assert message.header.stamp.sec == 3
    status = message.status[0]
    assert (status.level, status.message) == (DiagnosticStatus.WARN, 'lost')
    assert (status.values[0].key, status.values[0].value) == ('score', '0.1')


def test_what_is_counted_is_there_from_the_start() -> None:
    report = Statistics().report(1.0)
    assert {report[name] for name in COUNTED} == {'0'}


def test_levels_are_those_of_what_keeps_the_node_from_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ok, warn, error = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
    statistics = Statistics()
    assert health(statistics, 0.0, 'no target') == (ok, 'no target')
    assert health(statistics, 0.0, 'tracking') == (ok, 'tracking')
    assert health(statistics, 0.0, 'target lost') == (warn, 'target lost')
    assert health(statistics, 3.2, 'tracking') == (warn, 'no image for 3 s')
    statistics.problem('refused boxes', 'box refused')
    assert health(statistics, 0.0, 'tracking') == (warn, 'tracking; box refused')
    statistics.problem('failed frames', 'out of memory')
    assert health(statistics, 3.2, 'tracking') == (error, 'engine failing: out of memory')
    statistics.count_track()
    assert health(statistics, 0.0, 'tracking') == (warn, 'tracking; out of memory')
    monkeypatch.setattr(diagnostics, 'LATELY', 0.0)
    assert health(statistics, 0.0, 'tracking') == (ok, 'tracking')


def test_drops_are_gaps_in_the_publishers_numbers() -> None:
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
