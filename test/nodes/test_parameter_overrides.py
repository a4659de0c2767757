# SPDX-License-Identifier: Apache-2.0
"""Parameter overrides that match no parameter, topic or node, given to real nodes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from diagnostic_msgs.msg import DiagnosticStatus
from follow_talker import FollowTalker
from talker import Talker

from hcat_ros.nodes.parameter_overrides import is_for_node

Follow = Callable[..., FollowTalker]


@pytest.mark.parametrize(
    ('pattern', 'node', 'fits'),
    [
        ('/**', '/hcat_tracker', True),
        ('/**', '/drone/hcat_tracker', True),
        ('/**/hcat_tracker', '/hcat_tracker', True),
        ('/**/hcat_tracker', '/a/b/hcat_tracker', True),
        ('hcat_tracker', '/hcat_tracker', True),
        ('hcat_tracker', '/drone/hcat_tracker', False),
        ('/*/hcat_tracker', '/drone/hcat_tracker', True),
        ('/*', '/drone/hcat_tracker', False),
        ('/hcat_traker', '/hcat_tracker', False),
    ],
)
def test_node_name_patterns_match_as_in_rcl(pattern: str, node: str, fits: bool) -> None:
    assert is_for_node(pattern, node) == fits


def test_tracker_warns_about_an_unknown_parameter(
    talk: Callable[..., Talker], capfd: pytest.CaptureFixture[str]
) -> None:
    talker = talk(window_penality=0.9, diagnostics_period=0.2)
    talker.start()
    words = 'this node has no parameter window_penality: did you mean window_penalty?'
    assert words in capfd.readouterr().err
    talker.spin(lambda: words in talker.status().message, 'the warning in diagnostics')
    assert talker.status().level == DiagnosticStatus.WARN


def test_qos_overrides_of_unknown_topics_are_reported(
    talk: Callable[..., Talker], capfd: pytest.CaptureFixture[str]
) -> None:
    talk(**{'qos_overrides./imag.subscription.depth': 3}).start()
    log = capfd.readouterr().err
    assert 'no topic of this node has a parameter qos_overrides./imag.subscription.depth' in log
    assert 'did you mean qos_overrides./image.subscription.depth?' in log


def test_follower_does_not_configure_with_an_unknown_parameter(follow: Follow) -> None:
    follower = follow(yaw__max_sped=0.2).follower
    follower.start()
    assert follower.state_label == 'unconfigured'
    assert follower.failure == (
        'cannot configure: this node has no parameter yaw.max_sped: did you mean yaw.max_speed?'
    )


def test_follower_ignores_tracker_parameters(follow: Follow) -> None:
    follower = follow(window_penalty=0.2, yaw__max_speed=0.3).follower
    follower.start()
    assert follower.state_label == 'active'


@pytest.mark.parametrize(
    ('key', 'problem'),
    [
        (
            'hcat_folower',
            '{path} has parameters for hcat_folower, but none for this node, /hcat_follower',
        ),
        ('/drone/hcat_follower', '{path} has parameters for /drone/hcat_follower, but none for'),
        ('/**', ''),
        ('hcat_follower', ''),
    ],
)
def test_follower_does_not_start_with_a_parameter_file_for_other_nodes(
    follow: Follow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, problem: str
) -> None:
    path = tmp_path / 'limits.yaml'
    path.write_text(f'{key}:\n  ros__parameters:\n    yaw: {{max_speed: 0.2}}\n')
    monkeypatch.setattr(sys, 'argv', ['follower', '--ros-args', '--params-file', str(path)])
    follower = follow().follower
    follower.start()
    assert problem.format(path=path) in follower.failure
    assert bool(follower.failure) == bool(problem)


def test_misspelt_node_name_in_a_parameter_file_is_reported(
    follow: Follow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / 'robot.yaml'
    path.write_text(
        '/**:\n  ros__parameters: {rate: 20.0}\n'
        'hcat_tracker:\n  ros__parameters: {threads: 1}\n'
        'hcat_folower:\n  ros__parameters: {yaw: {max_speed: 0.2}}\n'
    )
    monkeypatch.setattr(sys, 'argv', ['follower', '--ros-args', '--params-file', str(path)])
    follower = follow().follower
    follower.start()
    assert follower.failure.endswith(
        f'{path} has parameters for /hcat_folower: did you mean /hcat_follower?'
    )
