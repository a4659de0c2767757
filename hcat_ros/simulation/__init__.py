# SPDX-License-Identifier: Apache-2.0
"""Simulation of a camera on a moving platform, for closed loops with real pixels. No ROS."""

from hcat_ros.simulation.camera import Pinhole, Pose, TrueBearing
from hcat_ros.simulation.platform import PLATFORMS, PlatformCommand, PlatformModel, SimulatedAxis
from hcat_ros.simulation.scenario import Scenario
from hcat_ros.simulation.simulation import SceneTruth, SimFrame, Simulation
from hcat_ros.simulation.target_path import PATHS
from hcat_ros.simulation.top_view import top_view

__all__ = [
    'PATHS',
    'PLATFORMS',
    'Pinhole',
    'PlatformCommand',
    'PlatformModel',
    'Pose',
    'Scenario',
    'SceneTruth',
    'SimFrame',
    'SimulatedAxis',
    'Simulation',
    'TrueBearing',
    'top_view',
]
