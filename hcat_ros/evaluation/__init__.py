# SPDX-License-Identifier: Apache-2.0
"""Measuring a tracker on sequences. numpy; no ROS."""
