# SPDX-License-Identifier: Apache-2.0
"""tools/demo_follow.py: a run of a few seconds in three processes, and its pictures."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('onnxruntime', reason='an engine runs here')

from hcat_ros.boxes import Box
from hcat_ros.following import Command
from hcat_ros.nodes.tools.simulated_following import follower_parameters
from hcat_ros.simulation import PLATFORMS, Scenario, TrueBearing
from hcat_ros.tracking import TargetState, Track


@pytest.fixture
def pictures(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module `follow_pictures`, which draws the video and the plot."""
    monkeypatch.syspath_prepend(str(checkout / 'tools'))
    return pytest.importorskip('follow_pictures')


def demo(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / 'tools' / 'demo_follow.py'), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_demo_writes_a_video_and_a_plot(checkout: Path, tmp_path: Path) -> None:
    words = ['--platform', 'ground', '--path', 'straight', '--seconds', '3']
    done = demo(checkout, *words, '--out', str(tmp_path / 'new' / 'demo'))
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'RMS bearing error' in done.stdout
    assert 'from image to command: median' in done.stdout
    view_and_above = 640 + 480
    video = cv2.VideoCapture(str(tmp_path / 'new' / 'demo' / 'follow.mp4'))
    read, frame = video.read()
    assert read
    assert frame.shape == (480, view_and_above, 3)
    assert 10 < video.get(cv2.CAP_PROP_FRAME_COUNT) < 3 * 30 + 5
    plot = cv2.imread(str(tmp_path / 'new' / 'demo' / 'follow.png'))
    assert plot is not None
    assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 10


def test_camera_failure_is_reported_and_nothing_is_written(checkout: Path, tmp_path: Path) -> None:
    done = demo(checkout, '--pictures', str(tmp_path), '--out', str(tmp_path / 'demo'))
    assert done.returncode == 1
    assert 'demo_follow: 0 frames' in done.stderr
    assert str(tmp_path) in done.stderr, 'what the camera has to say'
    assert not (tmp_path / 'demo').exists()


@pytest.mark.parametrize('words', ['--seconds 0', '--pictures /no/such/folder', '--platform boat'])
def test_invalid_argument_is_reported(checkout: Path, words: str) -> None:
    done = demo(checkout, *words.split())
    assert done.returncode == 2
    assert words.split()[1] in done.stderr


def test_commands_are_described_in_words(pictures: Any) -> None:
    assert pictures.commanded(None) == 'no command yet'
    assert pictures.commanded(Command()) == 'stop'
    turn = Command(forward=1.5, up=-0.25, yaw_rate=math.radians(-10))
    assert pictures.commanded(turn) == 'forward +1.50 m/s   climb -0.25 m/s   turn -10 deg/s'
    # Positive angular.y of a Twist is downwards; in the text positive is upwards.
    assert pictures.commanded(Command(pitch_rate=math.radians(-20))) == 'tilt +20 deg/s'
    assert '-0' not in pictures.commanded(Command(yaw_rate=-1e-4))


def test_plot_axis_has_a_margin_around_its_values(pictures: Any) -> None:
    line = pictures.Line('x', 'tab:red', np.array([0.3, 7.2]))
    low, high = pictures.limits(pictures.Panel('x', (line,), (), (0.0, 0.5)))
    assert -0.5 < low < 0
    assert 7 < high < 8
    low, high = pictures.limits(pictures.Panel('x', (line,), (), (-10.0, 10.0)))
    assert (low, high) == (-11, 11)


def test_chart_shades_the_time_when_the_target_is_hidden(pictures: Any) -> None:
    track = Track(Box(0, 0, 1, 1), 0.9, TargetState.TRACKING)
    moments = [
        pictures.Moment(
            n / 10, track, Command(yaw_rate=0.1), TrueBearing(0.1, 0, 5.0), n < 50, True
        )
        for n in range(100)
    ]
    shown = pictures.chart(moments, 1.2, 5.0, 'a run')
    shown.draw_without_rendering()
    assert len(shown.axes) == 4
    for axes in shown.axes:
        (shade,) = axes.collections
        seconds = shade.get_paths()[0].vertices[:, 0]
        assert (seconds.min(), seconds.max()) == (5.0, 9.9)
    for_gimbal = pictures.chart(moments, 1.2, None, 'a run')
    assert len(for_gimbal.axes) == 2, 'no range, no speed'


@pytest.mark.parametrize('platform', PLATFORMS)
def test_follower_parameters_match_the_simulated_platform(platform: str) -> None:
    changed = follower_parameters(Scenario('straight', platform, target_height=0.7, fps=20))
    model = PLATFORMS[platform]
    assert 0.5 * model.yaw.speed < changed['yaw.max_speed'] <= model.yaw.speed
    assert changed['rate'] == 40
    assert ('forward.max_speed' in changed) == (platform != 'gimbal')
    if platform != 'gimbal':
        assert changed['target_height'] == 0.7
        assert changed['range_mode'] == 'size'
    # Values that the preset contains are not repeated.
    assert 'score_low' not in changed
