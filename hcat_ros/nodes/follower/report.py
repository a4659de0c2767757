# SPDX-License-Identifier: Apache-2.0
"""Counters and values that the follower publishes on /diagnostics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticStatus

from hcat_ros.following import Bearing, Command, FollowConfig, Range

COUNTED = ('tracks', 'lost tracks', 'refused tracks', 'refused camera infos', 'commands')
"""Counters published from the start, so that plots have a baseline."""
WAITING = ('on hold', 'waiting for a track')
"""Reasons to stand still that are not problems."""


def following_state(command: Command, problems: Sequence[str]) -> tuple[bytes, str]:
    """Return the level and the summary of an active follower's status.

    problems: descriptions of problems around the follower; they turn any state into a warning.
    """
    if command.allowed == 1:
        text = 'following'
    elif command.allowed > 0:
        text = f'following at {100 * command.allowed:.0f} % of the speed: {command.reason}'
    else:
        text = f'standing still: {command.reason}'
    fine = command.allowed > 0 or command.reason in WAITING
    level = DiagnosticStatus.OK if fine and not problems else DiagnosticStatus.WARN
    return level, '; '.join([text, *problems])


def following_values(
    command: Command, bearing: Bearing | None, distance: Range | None, config: FollowConfig
) -> dict[str, str]:
    """Return the command, the bearing error and the range as text."""
    values = {
        'platform': config.platform,
        'allowed share of the speed': f'{command.allowed:.2f}',
        'reason': command.reason,
        'command forward/left/up [m/s]': f'{command.forward:.3f} / {command.left:.3f} / '
        f'{command.up:.3f}',
        'command yaw/pitch rate [rad/s]': f'{command.yaw_rate:.3f} / {command.pitch_rate:.3f}',
    }
    if bearing is not None:
        azimuth = math.degrees(bearing.azimuth - config.desired_azimuth)
        elevation = math.degrees(bearing.elevation - config.desired_elevation)
        values['bearing error azimuth/elevation [deg]'] = f'{azimuth:.1f} / {elevation:.1f}'
        deviation = [math.degrees(math.sqrt(bearing.covariance[i, i])) for i in (0, 1)]
        values['bearing deviation [deg]'] = '{:.2f} / {:.2f}'.format(*deviation)
    if distance is not None:
        values['range [m]'] = f'{distance.range:.2f} +- {distance.deviation:.2f}'
    return values
