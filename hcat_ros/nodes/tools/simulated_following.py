# SPDX-License-Identifier: Apache-2.0
"""Parameters of the follower that describe a simulated platform."""

from __future__ import annotations

from typing import Any

from hcat_ros.nodes.follower.settings import preset
from hcat_ros.simulation import Scenario
from hcat_ros.simulation.closed_loop import COMMANDS_A_FRAME, Loop


def follower_parameters(scenario: Scenario) -> dict[str, Any]:
    """Return the follower's parameters that differ from the platform's preset, by name.

    They are the ones of `closed_loop.Loop`: the platform's limits and delays, and the target's
    height.
    """
    defaults = preset(scenario.platform).values()
    simulated = Loop(scenario).config.values()
    changed = {name: value for name, value in simulated.items() if value != defaults[name]}
    return {'rate': min(200.0, max(5.0, COMMANDS_A_FRAME * scenario.fps)), **changed}
