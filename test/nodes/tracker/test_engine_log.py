# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from rclpy.logging import LoggingSeverity

from hcat_ros.nodes.tracker.engine_log import engine_log

if TYPE_CHECKING:
    from talker import Talker


def test_engine_log_messages_appear_in_the_node_log(
    ros: None, capfd: pytest.CaptureFixture[str]
) -> None:
    node = rclpy.create_node('tracker')
    log = logging.getLogger('hcat_ros.engines')
    with engine_log(node.get_logger()):
        log.info('passed over %s', 'x')
        log.warning('later builds take as long')
        log.info('built')
        log.debug('a detail')
        logging.getLogger('another').warning('not ours')
    log.info('afterwards')
    node.destroy_node()
    lines = re.findall(r'\[(\w+)\] \[[\d.]+\] \[tracker\]: (.*)', capfd.readouterr().err)
    assert lines == [
        ('INFO', 'passed over x'),
        ('WARN', 'later builds take as long'),
        ('INFO', 'built'),
    ]


def test_debug_messages_appear_at_log_level_debug(
    ros: None, capfd: pytest.CaptureFixture[str]
) -> None:
    node = rclpy.create_node('tracker')
    node.get_logger().set_level(LoggingSeverity.DEBUG)
    log = logging.getLogger('hcat_ros.engines')
    try:
        with engine_log(node.get_logger()):
            log.debug('passed over %s', 'x')
    finally:
        node.get_logger().set_level(
            LoggingSeverity.INFO
        )  # the level belongs to the process, by logger name
        node.destroy_node()
    assert '[DEBUG]' in (text := capfd.readouterr().err)
    assert '[tracker]: passed over x' in text


def test_startup_logs_at_most_three_lines(
    talk: Callable[..., Talker], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any
) -> None:
    """Engine and precision are auto: the first start measures, the second uses the cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    for start in ('first', 'second'):
        talker = talk(threads=1)
        capfd.readouterr()
        talker.tracker.start()
        assert talker.tracker.state_label == 'active'
        text = capfd.readouterr().err
        lines = re.findall(r'\[INFO\] \[[\d.]+\] \[hcat_tracker\]: (.*)', text)
        assert len(lines) <= 3, (start, lines)
        assert 'that passed the self-test' in lines[0]
        assert lines[-1].startswith('active on /image')
        assert '[DEBUG]' not in text
        talker.close()


def test_engine_log_restores_the_logger_after_an_error() -> None:
    package = logging.getLogger('hcat_ros')
    before, level = list(package.handlers), package.level

    def fail() -> None:
        with engine_log(None):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert package.handlers == before
    assert package.level == level
