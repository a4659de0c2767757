# SPDX-License-Identifier: Apache-2.0
"""Failures through the real ROS interface: the node's state afterwards, and its recovery."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from diagnostic_msgs.msg import DiagnosticStatus
from lives import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    bring_up_and_track,
    restart_and_track,
    wait_for_diagnostics,
)
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from talker import Talker

from hcat_ros.engines import ENGINES
from hcat_ros.models import load_model

Talk = Callable[..., Talker]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(load_model('hcat_base').folder, tmp_path / 'model'))


def rehash(folder: Path, name: str) -> None:
    """Write the actual hash of a file into the model card."""
    card = folder / 'model.yaml'
    old = load_model(folder).card.sha256[name]
    new = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    card.write_text(card.read_text().replace(old, new))


# Transitions


@pytest.mark.parametrize(
    ('transition', 'label'),
    [(CONFIGURE, ''), (ACTIVATE, ''), (CLEANUP, ''), (0, 'fly'), (255, ''), (61, '')],
)
def test_impossible_transition_is_refused_and_tracking_continues(
    talk: Talk, transition: int, label: str
) -> None:
    talker = talk()
    bring_up_and_track(talker)
    assert not talker.change(transition, label)
    assert talker.tracker.state_label == 'active'
    talker.send(2)
    talker.spin(lambda: len(talker.tracks) == 2, 'a track of the same target')
    assert talker.tracks[1].id.endswith('-1')
    restart_and_track(talker)


def test_node_restarts_several_times(talk: Talk) -> None:
    talker = talk()
    bring_up_and_track(talker)
    for _ in range(3):
        restart_and_track(talker)


# Parameters


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('window_penalty', 7.0),
        ('window_penalty', float('nan')),
        ('size_smoothing', 0.0),
        ('threads', -1),
        ('threads', 2**62),
        ('buffer_mb', -1),
        ('engine', 'abacus'),
        ('precision', 'int1'),
        ('init_mode', ''),
        ('stamp_tolerance', float('inf')),
        ('diagnostics_period', 0.0),
        ('class_id', [1, 2]),
        ('init_box', 'here'),
    ],
)
def test_invalid_parameter_is_refused_and_the_old_value_kept(
    talk: Talk, name: str, value: Any
) -> None:
    talker = talk()
    bring_up_and_track(talker)
    before = talker.tracker.get_parameter(name).value
    client = talker.node.create_client(SetParameters, 'hcat_tracker/set_parameters')
    request = SetParameters.Request()
    request.parameters = [Parameter(name, value=value).to_parameter_msg()]
    result = talker.call(client, request).results[0]
    assert not result.successful
    assert name in result.reason
    assert talker.tracker.get_parameter(name).value == before
    assert talker.tracker.state_label == 'active'
    talker.send(2)
    talker.spin(lambda: len(talker.tracks) == 2, 'a track')


# Models


def test_missing_model_leaves_the_node_unconfigured_until_corrected(talk: Talk) -> None:
    talker = talk(model='no_such_model')
    assert not talker.change(CONFIGURE)
    assert talker.tracker.state_label == 'unconfigured'
    wait_for_diagnostics(talker, DiagnosticStatus.ERROR, "no model 'no_such_model'")
    assert not talker.change(ACTIVATE)
    assert talker.set('model', 'hcat_base').successful
    bring_up_and_track(talker)
    wait_for_diagnostics(talker, DiagnosticStatus.OK, 'tracking')


@pytest.mark.parametrize('engine', ['auto', 'onnxruntime'])
@pytest.mark.parametrize('name', ['template.onnx', 'search.onnx'])
@pytest.mark.parametrize(
    ('damage', 'hash_fits', 'reason'),
    [
        (lambda content: content[:-100], False, 'is damaged or was replaced'),
        (lambda content: b'', False, 'is damaged or was replaced'),
        (lambda content: content[: len(content) // 2], True, 'cannot load'),
        (lambda content: b'', True, 'cannot load'),
        (lambda content: bytes(range(256)) * 100, True, 'cannot load'),
    ],
)
def test_damaged_model_is_refused_until_repaired(
    talk: Talk,
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    engine: str,
    name: str,
    damage: Callable[[bytes], bytes],
    hash_fits: bool,
    reason: str,
) -> None:
    whole, card = (model / name).read_bytes(), (model / 'model.yaml').read_text()
    (model / name).write_bytes(damage(whole))
    if hash_fits:
        rehash(model, name)
    if engine == 'auto':  # the PyTorch engine reads other files
        monkeypatch.delitem(ENGINES, 'torch')
    talker = talk(model=str(model), engine=engine, precision='fp32', threads=1)
    assert not talker.change(CONFIGURE)
    assert talker.tracker.state_label == 'unconfigured'
    assert reason in talker.tracker.failure
    assert name in talker.tracker.failure
    (model / name).write_bytes(whole)
    (model / 'model.yaml').write_text(card)
    bring_up_and_track(talker)
