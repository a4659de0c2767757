# SPDX-License-Identifier: Apache-2.0
"""MAVLink 2's common messages, by pymavlink."""

from __future__ import annotations

import os

os.environ.setdefault('MAVLINK20', '1')  # read by pymavlink as it is imported

try:
    from pymavlink import mavutil
    from pymavlink.dialects.v20 import common as mavlink
except ImportError as error:
    raise ImportError(f"{error}; pip install 'hcat_ros[mavlink]'") from error

mavutil.set_dialect('common')

__all__ = ['mavlink', 'mavutil']
