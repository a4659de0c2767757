# SPDX-License-Identifier: Apache-2.0
"""Helpers for commands that start a ROS node. `hcat` itself does not import ROS."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

ROS = {'rclpy': 'ROS 2 was not found; source its setup.bash first'}


def check_modules(remedies: Mapping[str, str]) -> None:
    """Raise RuntimeError with the remedy if ROS or one of these modules is not installed."""
    for module, remedy in {**ROS, **remedies}.items():
        if importlib.util.find_spec(module) is None:
            raise RuntimeError(remedy)


def node_arguments(parameters: Mapping[str, Any], namespace: str) -> list[str]:
    """Return the command line that gives a node its parameters and its namespace."""
    words = ['--ros-args']
    for name, value in parameters.items():
        # ROS reads values as YAML. JSON is valid YAML, and quotes a text that looks like a number.
        words += ['-p', f'{name}:={json.dumps(value)}']
    if namespace:
        words += ['-r', f'__ns:=/{namespace.lstrip("/")}']
    return words


def become_node(executable: str, words: list[str]) -> NoReturn:
    """Replace this process with a node, so that signals reach the node."""
    module = 'hcat_ros.executables'
    os.execv(sys.executable, [sys.executable, '-m', module, executable, *words])
