# SPDX-License-Identifier: Apache-2.0
"""Helpers that the launch files of this package share and that need launch itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch_ros.parameter_descriptions import ParameterValue

from hcat_ros.nodes.launch_arguments import parse_parameters


def declared_arguments(file: Path, leave_out: Collection[str]) -> list[DeclareLaunchArgument]:
    """Return the arguments that a Python launch file declares, except those in `leave_out`."""
    return [
        entity
        for entity in get_launch_description_from_python_launch_file(str(file)).entities
        if isinstance(entity, DeclareLaunchArgument) and entity.name not in leave_out
    ]


def given_parameters(values: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the parameters that arguments set, in the form that launch_ros's Node action needs.

    See `parse_parameters`. Strings are marked as strings: launch_ros would turn '0' into a number.
    """
    return {
        name: as_text(value) if isinstance(value, str) else value
        for name, value in parse_parameters(values, kinds).items()
    }


def as_text(value: Any) -> ParameterValue:
    """Return a string, or a substitution, as a parameter value that always stays a string."""
    return ParameterValue(value, value_type=str)
