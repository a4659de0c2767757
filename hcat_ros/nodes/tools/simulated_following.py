# SPDX-License-Identifier: Apache-2.0
"""Parameters of the follower that describe a simulated platform."""

from __future__ import annotations

from typing import Any

from hcat_ros.nodes.follower.settings import preset
from hcat_ros.simulation import Scenario
from hcat_ros.simulation.closed_loop import COMMANDS_A_FRAME, Loop


def follower_parameters(scenario: Scenario) -> dict[str, Any]:
    """Return the follower's parameters, by name, in which it is not as the platform's preset.

    They are those of the closed loop in one process: the platform's limits and delays, the
    target's height.
    """
    own = preset(scenario.platform).values()
    found = Loop(scenario).config.values()
    changed = {name: value for name, value in found.items() if value != own[name]}
    return {'rate': min(200.0, max(5.0, COMMANDS_A_FRAME * scenario.fps)), **changed}
