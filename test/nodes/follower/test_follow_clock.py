# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from hcat_ros.nodes.follower.clock import ClockWatch


def test_running_clock_gives_no_trouble() -> None:
    watch = ClockWatch()
    for step in range(100):
        now = 1e9 + 0.01 * step  # at a tenth of real time
        assert watch.trouble(now, 0.1 * step, 0.5, simulated=True) == ''


def test_stopped_simulated_time_is_reported_until_it_runs() -> None:
    watch = ClockWatch()
    watch.trouble(10.0, 0.0, 0.5, simulated=True)
    assert watch.trouble(10.0, 0.49, 0.5, simulated=True) == ''
    for steady in (0.5, 0.6, 5.0):
        assert 'stands still' in watch.trouble(10.0, steady, 0.5, simulated=True)
        watch.forget_track()
    assert watch.trouble(10.1, 5.1, 0.5, simulated=True) == ''
    assert watch.trouble(3.0, 5.6, 0.5, simulated=True) == '', 'it may jump'


def test_clock_set_back_cannot_keep_a_track_fresh() -> None:
    watch = ClockWatch()
    watch.record_track(0.0)
    assert watch.trouble(100.0, 0.4, 0.5, simulated=False) == ''
    # The system clock is set back repeatedly.
    assert 'no good track for 0.60 s' in watch.trouble(99.5, 0.6, 0.5, simulated=False)
    watch.forget_track()
    assert watch.trouble(99.5, 0.7, 0.5, simulated=False) == ''


@pytest.mark.parametrize('simulated', [True, False])
def test_begin_forgets_the_last_track(simulated: bool) -> None:
    watch = ClockWatch()
    watch.record_track(0.0)
    watch.trouble(1.0, 0.0, 0.5, simulated)
    watch.begin()
    assert watch.trouble(1.0, 9.0, 0.5, simulated) == ''


def test_simulated_time_that_nearly_stands_still_counts_as_stopped() -> None:
    """0.2 ms in 10 s: if each tick counted as time, the platform would drive on for hours."""
    watch = ClockWatch()
    told = [watch.trouble(10.0 + 1e-6 * step, 0.05 * step, 0.5, True) for step in range(200)]
    assert told[:10] == [''] * 10
    assert all('/clock stands still, or nearly' in text for text in told[10:])
