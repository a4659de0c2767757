# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import re

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from hcat_ros.nodes.engine_log import engine_log


def test_what_engines_tell_is_in_the_nodes_log(
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


def test_it_ends_with_an_error_too() -> None:
    package = logging.getLogger('hcat_ros')
    before = list(package.handlers)

    def fail() -> None:
        with engine_log(None):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert package.handlers == before
