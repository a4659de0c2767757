# SPDX-License-Identifier: Apache-2.0
"""Reads rosbags without ROS, tracks targets in them and writes the tracks. Needs `rosbags`."""

from hcat_ros.evaluation.bags.reading import Bag, BagFrame, open_bag

__all__ = ['Bag', 'BagFrame', 'open_bag']
