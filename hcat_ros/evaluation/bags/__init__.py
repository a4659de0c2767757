# SPDX-License-Identifier: Apache-2.0
"""Rosbags without ROS: read as far as they can be, tracked through, written. Needs `rosbags`."""

from hcat_ros.evaluation.bags.reading import Bag, BagFrame, open_bag

__all__ = ['Bag', 'BagFrame', 'open_bag']
