# SPDX-License-Identifier: Apache-2.0
"""Signals to the executables at any moment: while they import, make a node, or spin."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

CODE = (
    'import signal, sys\n'
    'signal.signal(signal.SIGINT, signal.default_int_handler)\n'  # a shell may have it ignored
    'from hcat_ros import executables\n'
    "print('there', flush=True)\n"
    'sys.exit(getattr(executables, sys.argv.pop(1))())\n'
)


@pytest.mark.parametrize('delay', [0.05, 0.2, 0.4, 0.7, 1.5])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('name', ['tracker_node', 'follower_node', 'select_page'])
def test_an_executable_ends_in_order_at_any_moment(
    name: str, number: signal.Signals, delay: float
) -> None:
    arguments = ['--ros-args', '-p', 'port:=0'] if name == 'select_page' else []
    process = subprocess.Popen(
        [sys.executable, '-c', CODE, name, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == 'there\n'
        time.sleep(delay)
        process.send_signal(number)
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
    assert 'Traceback' not in text
    # 0 once something was made that had to be cleaned up.
    assert process.returncode in (0, 128 + number), text
