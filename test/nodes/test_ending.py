# SPDX-License-Identifier: Apache-2.0
"""Signals to the executables at any moment: during import, node creation or spinning."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from hcat_ros.nodes.ending import SIGNALS, Ending

CODE = (
    'import signal, sys\n'
    'signal.signal(signal.SIGINT, signal.default_int_handler)\n'  # a shell may ignore it
    'from hcat_ros import executables\n'
    "print('there', flush=True)\n"
    'sys.exit(getattr(executables, sys.argv.pop(1))())\n'
)


@pytest.mark.parametrize('delay', [0.05, 0.2, 0.4, 0.7, 1.5])
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('name', ['tracker_node', 'follower_node', 'select_page'])
def test_signal_at_any_moment_shuts_an_executable_down_cleanly(
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
    # The exit code is 0 once there is something that the process must clean up.
    assert process.returncode in (0, 128 + number), text


def test_only_termination_signals_end_a_process() -> None:
    ending = Ending()
    came: list[int] = []
    asked: list[bool] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    hup = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup makes a process ignore it
    try:
        with ending.watch_signals():
            ending.set_callback(lambda: asked.append(ending.asked))
            for _ in range(3):
                signal.raise_signal(signal.SIGUSR1)
        # The watching thread has read every signal.
        assert came == [signal.SIGUSR1] * 3
        assert not ending.asked
        assert asked == []
        for number in SIGNALS:
            with ending.watch_signals():
                ending.set_callback(lambda: asked.append(ending.asked))
                signal.raise_signal(signal.SIGUSR1)
                signal.raise_signal(number)
            assert ending.asked
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.signal(signal.SIGHUP, hup)
    assert asked == [True] * len(SIGNALS)


@pytest.mark.usefixtures('ros_domain')
@pytest.mark.parametrize('name', ['tracker_node', 'follower_node', 'select_page', 'camera_sim'])
def test_shared_memory_segments_are_removed_at_exit(name: str) -> None:
    """Each run used to leave 10 MB there, which only a restart of the machine freed."""
    arguments = ['-p', 'port:=0'] if name == 'select_page' else []
    process = subprocess.Popen(
        [sys.executable, '-c', CODE, name, '--ros-args', *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        segments: set[str] = set()
        deadline = time.monotonic() + 60
        while not segments and time.monotonic() < deadline:
            time.sleep(0.05)
            maps = Path(f'/proc/{process.pid}/maps').read_text()
            segments = set(re.findall(r'/dev/shm/fastrtps_[0-9a-f]{16}\b', maps))
        if not segments:
            pytest.skip('this middleware keeps no segment in /dev/shm')
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    assert [path for path in segments if Path(path).exists()] == []


def test_a_running_node_is_not_suspended() -> None:
    before = signal.getsignal(signal.SIGTSTP)
    with Ending().watch_signals():
        assert signal.getsignal(signal.SIGTSTP) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTSTP) == before
