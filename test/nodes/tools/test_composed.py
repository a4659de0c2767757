# SPDX-License-Identifier: Apache-2.0
"""Several nodes in one process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from rclpy.node import Node

from hcat_ros.nodes.tools.composed import main


def test_tracker_and_follower_share_a_process_until_a_signal_ends_it(ros: None) -> None:
    words = ['-p', 'autostart:=true', '-r', 'hcat_tracker:__node:=eye', '-p', 'eye:threads:=1']
    command = [sys.executable, '-m', 'hcat_ros.executables', 'composed', 'tracker', 'follower']
    process = subprocess.Popen([*command, '--ros-args', *words], stderr=subprocess.PIPE, text=True)
    viewer = rclpy.create_node('viewer')
    try:
        deadline = time.monotonic() + 60
        wanted = {'/image': 'eye', '/track': 'hcat_follower'}
        while wanted and time.monotonic() < deadline and process.poll() is None:
            for topic, node in list(wanted.items()):
                infos = viewer.get_subscriptions_info_by_topic(topic)
                if node in [info.node_name for info in infos]:
                    del wanted[topic]
            time.sleep(0.1)
        assert not wanted
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
        viewer.destroy_node()
    assert process.returncode == 0
    assert 'Traceback' not in text
    assert 'has no parameter' not in text


def test_other_nodes_are_destroyed_if_one_cannot_be_created(
    ros_domain: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    destroyed: list[str] = []
    destroy = Node.destroy_node

    def note(node: Node) -> None:
        destroyed.append(node.get_name())
        destroy(node)

    monkeypatch.setattr(Node, 'destroy_node', note)
    assert main(['composed', 'tracker', 'video_source']) == 1
    assert 'parameter source is empty' in capsys.readouterr().err
    assert 'hcat_tracker' in destroyed


@pytest.mark.parametrize('words', [[], ['pilot']])
def test_missing_or_unknown_node_names_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(['composed', *words])
    assert 'NODE' in capsys.readouterr().err
