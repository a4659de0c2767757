# SPDX-License-Identifier: Apache-2.0
import pytest

from hcat_ros.nodes.tools.tracker_health import TrackerHealth

NAME = 'front/hcat_tracker: tracking'


@pytest.fixture
def health() -> TrackerHealth:
    health = TrackerHealth('/front/hcat_tracker')
    health.expect_images(0.0)
    return health


def state(health: TrackerHealth, now: float = 0.5, there: bool = True) -> tuple[str, str]:
    return health.state(now, there, '/image', published=False)


def test_missing_node_gives_state_no_tracker(health: TrackerHealth) -> None:
    assert state(health, there=False) == ('no tracker', 'no node /front/hcat_tracker is running')


def test_no_image_is_reported_only_while_images_are_expected(health: TrackerHealth) -> None:
    assert state(health, 5.0) == ('no image', 'none on /image for 5 s: nobody publishes it')
    health.record_image(4.0)
    assert state(health, 5.0)[0] == 'starting'
    health.expect_images(None)
    assert state(health, 50.0)[0] == 'starting'


def test_state_follows_the_tracker_diagnostics(health: TrackerHealth) -> None:
    health.record_report(NAME, 'no target', {})
    assert state(health) == ('no target', '')
    health.record_report(NAME, 'target lost', {})
    assert state(health) == ('lost', '')
    health.record_report(NAME, 'no target; init box refused: too old', {})
    assert state(health) == ('no target', 'init box refused: too old')
    health.record_report(NAME, 'engine failing: out of memory', {})
    assert state(health) == ('engine failing', 'out of memory')
    health.record_report(NAME, 'no image for 3 s', {})
    assert state(health) == ('no image', 'the tracker gets none: no image for 3 s')
    health.record_report(NAME, 'cannot configure: no model x', {'lifecycle': 'unconfigured'})
    assert state(health) == ('inactive', 'cannot configure: no model x')


def test_reports_of_other_trackers_are_ignored(health: TrackerHealth) -> None:
    health.record_report('rear/hcat_tracker: tracking', 'target lost', {'refused boxes': '3'})
    assert state(health)[0] == 'starting'


def test_recent_tracks_override_older_reports(health: TrackerHealth) -> None:
    health.record_report(NAME, 'no target', {})
    health.record_track(found=True, now=0.4)
    assert state(health)[0] == 'tracking'
    health.record_report(NAME, 'tracking; image refused: no data', {})
    assert state(health) == ('tracking', 'image refused: no data')
    health.record_report(NAME, 'target uncertain', {})
    assert state(health) == ('tracking', 'target uncertain')
    health.record_track(found=False, now=0.5)
    assert state(health)[0] == 'lost'
    health.forget_track()
    assert state(health) == ('no target', '')


def test_refused_box_is_reported_once(health: TrackerHealth) -> None:
    health.record_report(NAME, 'no target', {'refused boxes': '2', 'last problem': 'before us'})
    assert health.problem == ''
    health.record_report(NAME, 'no target', {'refused boxes': '3', 'last problem': 'too old'})
    assert health.problem == 'too old'
    health.forget_problem()
    health.record_report(NAME, 'no target', {'refused boxes': '3', 'last problem': 'too old'})
    assert health.problem == ''
    health.record_report(NAME, 'no target', {})  # the tracker has restarted
    assert health.problem == ''


def test_a_malformed_count_in_a_report_is_ignored(health: TrackerHealth) -> None:
    """Python refuses to read more than 4300 digits."""
    for count in ('9' * 5000, '-1', '1e3', ''):
        assert health.record_report(NAME, 'tracking', {'refused boxes': count})
    assert health.problem == ''
