# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import inspect
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from hcat_ros.engines import load_engine
from hcat_ros.nodes.tracker.settings import SETTINGS, engine_options


def options(**changes: Any) -> dict[str, Any]:
    return engine_options({**{setting.name: setting.default for setting in SETTINGS}, **changes})


def test_engine_defaults_match_load_engine() -> None:
    parameters = inspect.signature(load_engine).parameters
    assert options() == {name: parameters[name].default for name in options()}


def test_workspace_and_dla_core_are_passed_to_the_engine() -> None:
    found = options(workspace_mb=512, dla_core=0, engine='tensorrt')
    assert (found['workspace'], found['dla'], found['engine']) == (512, 0, 'tensorrt')
