# SPDX-License-Identifier: Apache-2.0
"""What a camera on a moving platform sees, for closed loops with real pixels. No ROS."""

from hcat_ros.simulation.camera import Bearing, Pinhole, Pose
from hcat_ros.simulation.platform import PLATFORMS, Axis, Command, PlatformModel
from hcat_ros.simulation.scenario import Scenario
from hcat_ros.simulation.simulation import SimFrame, Simulation, Truth
from hcat_ros.simulation.target_path import PATHS
from hcat_ros.simulation.top_view import top_view

__all__ = [
    'PATHS',
    'PLATFORMS',
    'Axis',
    'Bearing',
    'Command',
    'Pinhole',
    'PlatformModel',
    'Pose',
    'Scenario',
    'SimFrame',
    'Simulation',
    'Truth',
    'top_view',
]
