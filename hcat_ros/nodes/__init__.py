# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 layer: lifecycle nodes, their messages, parameters and diagnostics."""
