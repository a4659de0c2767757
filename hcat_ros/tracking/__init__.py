# SPDX-License-Identifier: Apache-2.0
"""The tracker: crops, window penalty, target state. numpy and OpenCV; no torch, no ROS."""

from hcat_ros.tracking.confidence import TargetState
from hcat_ros.tracking.tracker import Track, Tracker, TrackerConfig, warm_up

__all__ = ['TargetState', 'Track', 'Tracker', 'TrackerConfig', 'warm_up']
