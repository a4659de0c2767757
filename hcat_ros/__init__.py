# SPDX-License-Identifier: Apache-2.0
"""HCAT single-object tracking for ROS 2.

The parts, each usable alone: `boxes`, `tracking` (numpy and OpenCV), `engines` (one file per
runtime), `models` (finds and reads model folders), `network` (PyTorch), `nodes` (ROS 2).
"""

__version__ = '0.2.0'
