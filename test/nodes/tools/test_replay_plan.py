# SPDX-License-Identifier: Apache-2.0
"""Commands and files of a replay, planned from real bags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import write_bag

from hcat_ros.commands import replay
from hcat_ros.nodes.tools.replay_plan import ReplayPlan
from hcat_ros.nodes.tracker.settings import SETTINGS

Plan = Callable[..., ReplayPlan]
FRAMES = [np.full((48, 64, 3), 90, np.uint8)] * 2


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A function that makes a plan from the launch file's defaults and these arguments."""
    monkeypatch.chdir(tmp_path)
    write_bag(tmp_path / 'walk', FRAMES, init_box=(3, 4, 20, 10))
    write_bag(tmp_path / 'packed', FRAMES, kind='jpeg')
    Path('mine.yaml').write_text('/**:\n  ros__parameters:\n    threads: 3\n    engine: openvino\n')

    def make(**arguments: str) -> ReplayPlan:
        values = dict.fromkeys((setting.name for setting in SETTINGS), '')
        values |= {'bag': 'walk', 'out': '', 'image': '', 'init_box_topic': '', 'truth': ''}
        values |= {'namespace': '', 'rate': '1.0', 'depth': '60', 'patience': '120'}
        values |= {'params_file': 'mine.yaml', 'node_name': 'hcat_tracker'}
        return ReplayPlan(values | arguments)

    return make


def options(words: list[str]) -> argparse.Namespace:
    """Return the options that `hcat replay` parses from its arguments."""
    assert words[0] == 'replay'
    parser = argparse.ArgumentParser()
    replay.add_arguments(parser)
    return parser.parse_args(words[1:])


def test_init_box_of_the_bag_starts_the_target(plan: Plan) -> None:
    found = plan(namespace='/front/')
    assert (found.camera, found.played, found.transport) == ('/camera/image',) * 2 + ('raw',)
    assert (found.track, found.node) == ('/front/track', '/front/hcat_tracker')
    assert found.images == 2
    words = found.play_command()
    topics = words[words.index('--topics') + 1 : words.index('--clock')]
    assert topics == ['/camera/image', '/init_box']
    assert words[words.index('--remap') + 1 :] == ['/init_box:=/front/init_box']
    assert options(found.report_arguments()).init_box_topic == '/init_box'


def test_compressed_images_are_played_on_the_tracker_topic(plan: Plan) -> None:
    found = plan(bag='packed', init_box='[3, 4, 20, 10]')
    assert (found.camera, found.transport) == ('/camera/image', 'compressed')
    assert found.played == '/camera/image/compressed'
    assert '--remap' not in found.play_command()
    assert options(found.report_arguments()).box == [[3, 4, 20, 10]]


def test_offline_run_uses_the_node_settings(plan: Plan) -> None:
    found = plan(window_penalty='0.3', size_smoothing='0.4', engine='onnxruntime')
    offline = options(found.report_arguments())
    assert offline.engine == 'onnxruntime'  # the argument overrides the file
    assert offline.threads == 3
    assert offline.window_penalty == 0.3
    assert offline.set == ['size_smoothing=0.4']
    assert offline.track == found.recording


def test_qos_keeps_every_image_until_the_tracker_reads_it(plan: Plan) -> None:
    found = plan(depth='7')
    qos = {'reliability': 'reliable', 'history': 'keep_last', 'depth': 7}
    tracker: Any = yaml.safe_load(found.write_files().read_text())
    parameters = tracker['/**']['ros__parameters']
    assert parameters['qos_overrides'] == {'/camera/image': {'subscription': qos}}
    assert parameters['engine'] == 'openvino'
    words = found.play_command()
    overrides = Path(words[words.index('--qos-profile-overrides-path') + 1])
    played = yaml.safe_load(overrides.read_text())
    assert played == {'/camera/image': qos, '/init_box': qos}


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        ({'bag': 'nowhere'}, "bag:='nowhere': no bag nowhere"),
        ({'bag': 'packed'}, "init_box:='': the bag has no topic init_box"),
        ({'rate': '0'}, "rate:='0': expected a number above 0"),
        ({'depth': 'many'}, "depth:='many': expected a number above 0"),
        ({'image': '/front'}, 'has no topic /front; it has /camera/image'),
        ({'out': 'walk'}, "out:='walk': it exists already"),
        ({'params_file': 'none.yaml'}, "params_file:='none.yaml': .*No such file"),
        ({'params_file': 'text.yaml'}, "params_file:='text.yaml': expected parameters below"),
        ({'params_file': 'alias.yaml'}, 'alias.yaml, line 1: write the value in place'),
    ],
)
def test_invalid_argument_is_reported(plan: Plan, arguments: dict[str, str], reason: str) -> None:
    Path('text.yaml').write_text('threads 3')
    Path('alias.yaml').write_text('{a: &a [1], b: *a}')
    with pytest.raises(ValueError, match=reason):
        plan(**arguments)
