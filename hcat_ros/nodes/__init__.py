# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 layer: the lifecycle node, its messages, parameters and diagnostics."""
