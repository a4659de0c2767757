# SPDX-License-Identifier: Apache-2.0
"""Commands that become a ROS node: `hcat` itself knows nothing of ROS."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

ROS = {'rclpy': 'ROS 2 is not there: source its setup.bash first'}


def check_modules(remedies: Mapping[str, str]) -> None:
    """Raise RuntimeError with the remedy if ROS or one of these modules is not installed."""
    for module, remedy in {**ROS, **remedies}.items():
        if importlib.util.find_spec(module) is None:
            raise RuntimeError(remedy)


def node_arguments(parameters: Mapping[str, Any], namespace: str) -> list[str]:
    """Return the command line that gives a node its parameters and its namespace."""
    words = ['--ros-args']
    for name, value in parameters.items():
        # JSON is YAML, which ROS reads, and quotes a text that would pass for a number.
        words += ['-p', f'{name}:={json.dumps(value)}']
    if namespace:
        words += ['-r', f'__ns:=/{namespace.lstrip("/")}']
    return words


def become_node(executable: str, words: list[str]) -> NoReturn:
    """Run a node in place of this process, so that signals reach it."""
    module = 'hcat_ros.executables'
    os.execv(sys.executable, [sys.executable, '-m', module, executable, *words])
