# SPDX-License-Identifier: Apache-2.0
"""A `ros2 launch` for each test in a domain of its own, and a node to observe it from.

Each file skips itself if the package is not built by colcon and sourced, or launch is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from launching import Launch
    from rclpy.node import Node


@pytest.fixture(autouse=True)
def own_domain(ros_domain: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A domain that nobody else on this machine or network sees; logs in the test's folder."""
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'log'))
    monkeypatch.setenv('PYTHONUNBUFFERED', '1')


@pytest.fixture
def launch(
    request: pytest.FixtureRequest, own_domain: None, tmp_path: Path
) -> Iterator[Callable[..., Launch]]:
    """A function that runs `ros2 launch hcat_ros` with these words, after the module's FILE."""
    from launching import Launch

    file: list[Any] = [request.module.FILE] if hasattr(request.module, 'FILE') else []
    started: list[Launch] = []

    def start(*words: str) -> Launch:
        started.append(Launch(tmp_path / f'launch{len(started)}.log', *file, *words))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.fixture
def viewer(own_domain: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A node to observe from; its images fit into the shared memory of Fast DDS."""
    import rclpy
    from ament_index_python.packages import get_package_share_path

    profile = get_package_share_path('hcat_ros') / 'config' / 'fastdds_large_images.xml'
    with monkeypatch.context() as own:
        own.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(profile))
        rclpy.init()
        node = rclpy.create_node('viewer')
    yield node
    node.destroy_node()
    rclpy.try_shutdown()
