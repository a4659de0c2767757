# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('aiohttp', reason='needs aiohttp')

from hcat_ros.nodes.tools.parameter_page import parameter_page


def test_parameter_page_matches_the_declared_parameters(checkout: Path) -> None:
    written = (checkout / 'docs' / 'parameters.md').read_text()
    assert written == parameter_page(), 'write it anew, as its second line says'
