# SPDX-License-Identifier: Apache-2.0
"""The common MAVLink 2 messages, from pymavlink."""

from __future__ import annotations

import os

os.environ.setdefault('MAVLINK20', '1')  # pymavlink reads this when it is imported

try:
    from pymavlink import mavutil
    from pymavlink.dialects.v20 import common as mavlink
except ImportError as error:
    raise ImportError(f"{error}; pip install 'hcat_ros[mavlink]'") from error

mavutil.set_dialect('common')

__all__ = ['mavlink', 'mavutil']
