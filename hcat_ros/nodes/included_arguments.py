# SPDX-License-Identifier: Apache-2.0
"""Arguments of a launch file that another one includes and passes on."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import get_launch_description_from_python_launch_file


def declared_arguments(file: Path, leave_out: Collection[str]) -> list[DeclareLaunchArgument]:
    """Return the arguments that a Python launch file declares, but for some by name."""
    return [
        entity
        for entity in get_launch_description_from_python_launch_file(str(file)).entities
        if isinstance(entity, DeclareLaunchArgument) and entity.name not in leave_out
    ]
