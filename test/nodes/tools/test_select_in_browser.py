# SPDX-License-Identifier: Apache-2.0
"""The whole system as an operator uses it: processes over DDS, the page in a real Chromium."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from hcat_ros.boxes import Box, iou

PICTURE = "document.getElementById('picture')"
STATE = "document.getElementById('state').textContent"
FRAMES, FPS = 200, 10.0
SIDE = 48


def truth(number: float) -> Box:
    """Return the box of the square in a frame; it moves 1 px per frame."""
    return Box(60 + number, 90, SIDE, SIDE)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A video of a square that moves over a textured ground."""
    path = tmp_path / 'square.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), FPS, (400, 300))
    rng = np.random.default_rng(3)
    ground = rng.integers(60, 120, (75, 100, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    square = rng.integers(0, 256, (6, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    for number in range(FRAMES):
        frame = ground.copy()
        x, y = (round(value) for value in truth(number)[:2])
        frame[y : y + SIDE, x : x + SIDE] = square
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture
def start(ros: None) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function that starts a node, (module, parameters) -> process; all are ended."""
    started: list[subprocess.Popen[str]] = []

    def run(module: str, *parameters: str) -> subprocess.Popen[str]:
        words = [word for parameter in parameters for word in ('-p', parameter)]
        command = [sys.executable, '-m', 'hcat_ros.executables', module, '--ros-args', *words]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.send_signal(signal.SIGINT)
    for process in started:
        process.communicate(timeout=20)
        assert process.returncode == 0, process.args


def test_operator_selects_a_target_sees_it_tracked_and_drops_it(
    start: Any, video: Path, browser: Any
) -> None:
    start('tracker_node', 'autostart:=true', 'diagnostics_period:=0.5')
    # Smaller than the images, so that pixels of the page and of the images differ.
    page = start('select_page', 'port:=0', 'max_width:=200')
    line = page.stdout.readline()
    browser.open(re.search(r'http\S+', line)[0])
    browser.wait(f"{STATE} == 'no image' || {STATE} == 'starting'")
    start('video_source', f'source:={video}', 'subscribers:=2', 'loop:=true')
    browser.wait(f'{PICTURE}.dataset.stamp')
    first = int(browser.value(f'{PICTURE}.dataset.stamp'))
    browser.wait(f"{STATE} == 'no target'")
    assert browser.value(f'{PICTURE}.dataset.size') == '400x300'

    def number_of(stamp: str) -> float:
        return (int(stamp) - first) / 1e9 * FPS

    x, y, w, h = truth(number_of(browser.value(f'{PICTURE}.dataset.stamp')))
    browser.drag((x - 2, y - 2, w + 4, h + 4))
    begun = browser.wait(f'{PICTURE}.dataset.track && Number({PICTURE}.dataset.stamp)')
    # Two seconds later the square is 20 px further.
    stamp, track = browser.wait(
        f'Number({PICTURE}.dataset.stamp) > {begun} + 2e9 && {PICTURE}.dataset.track && '
        f'[{PICTURE}.dataset.stamp, {PICTURE}.dataset.track]'
    )
    assert browser.text('state') == 'tracking'
    assert iou(Box(*json.loads(track)), truth(number_of(stamp))) > 0.5
    if 'HCAT_SCREENSHOTS' in os.environ:
        browser.screenshot(Path(os.environ['HCAT_SCREENSHOTS']) / 'select_page.png')

    browser.click('reset')
    browser.wait(f"{STATE} == 'no target' && !{PICTURE}.dataset.track")
    assert browser.text('message') == 'target dropped'
    assert browser.log == []
