# SPDX-License-Identifier: Apache-2.0
"""Selects the Fast DDS profile for large images in nodes that launch files start."""

from __future__ import annotations

import os

VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'


def profile_variables(profile: str | os.PathLike[str]) -> dict[str, str]:
    """Return the environment variables that make a node use this Fast DDS profile.

    The result is empty if ROS uses another DDS or the user has set a profile already.
    """
    fast_dds = 'fastrtps' in (os.environ.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp')
    return {VARIABLE: os.fspath(profile)} if fast_dds and VARIABLE not in os.environ else {}
