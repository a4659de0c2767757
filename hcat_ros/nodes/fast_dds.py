# SPDX-License-Identifier: Apache-2.0
"""Fast DDS's profiles for images, for the nodes that launch files start."""

from __future__ import annotations

import os

VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'


def profile_variables(profile: str | os.PathLike[str]) -> dict[str, str]:
    """Return the environment variables with which a node takes this profile of Fast DDS.

    None where ROS runs over another DDS, or the user has set a profile of their own.
    """
    fast_dds = 'fastrtps' in (os.environ.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp')
    return {VARIABLE: os.fspath(profile)} if fast_dds and VARIABLE not in os.environ else {}
