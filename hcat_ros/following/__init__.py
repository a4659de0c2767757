# SPDX-License-Identifier: Apache-2.0
"""Target following: from tracks to motion commands. numpy and OpenCV; no torch, no ROS."""

from hcat_ros.following.bearing_filter import Bearing
from hcat_ros.following.camera import CameraModel
from hcat_ros.following.command import Command
from hcat_ros.following.config import CONFIG_FIELDS, AxisConfig, FollowConfig
from hcat_ros.following.depth import DepthSample, box_in_depth, depth_in_box
from hcat_ros.following.follower import Follower
from hcat_ros.following.measurement import BearingMeasurement, bearing_of
from hcat_ros.following.range_filter import Range

__all__ = [
    'CONFIG_FIELDS',
    'AxisConfig',
    'Bearing',
    'BearingMeasurement',
    'CameraModel',
    'Command',
    'DepthSample',
    'FollowConfig',
    'Follower',
    'Range',
    'bearing_of',
    'box_in_depth',
    'depth_in_box',
]
