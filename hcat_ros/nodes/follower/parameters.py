# SPDX-License-Identifier: Apache-2.0
"""Declares the follower node's parameters and checks each value and their combination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from hcat_ros.following import FollowConfig
from hcat_ros.nodes.follower.settings import (
    FOLLOW_NAMES,
    config_of,
    platform_setting,
    settings_for,
)
from hcat_ros.nodes.parameters import Settings


class FollowParameters:
    """Declares the parameters of a node, with the preset of `platform` as defaults."""

    def __init__(self, node: Node) -> None:
        self.changed = False
        """Whether a parameter has changed since the node reset this to False."""
        self.hold_set = False
        """Whether start_on_hold has been set to true since the node reset this to False."""
        self._node = node
        self._settings = Settings(node, (platform_setting(),), self._on_change)
        settings = settings_for(self._settings['platform'])
        self._late = {'platform', *(setting.name for setting in settings if not setting.live)}
        self._settings.declare(settings)
        node.add_on_set_parameters_callback(self._fit_together)

    @property
    def problem(self) -> str:
        """Why values given at the start are bad, empty if all are good or corrected."""
        return self._settings.problem

    def values(self) -> dict[str, Any]:
        """Return all values. Raises ValueError if a value given at the start was bad."""
        return self._settings.values()

    def __getitem__(self, name: str) -> Any:
        return self._settings[name]

    def config(self, platform: str = '') -> FollowConfig:
        """Return the configuration for `platform`, '' for the set platform. Raises ValueError."""
        return config_of(self.values() | ({'platform': platform} if platform else {}))

    def _fit_together(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse values that are each valid but do not fit together."""
        changes = {p.name: p.value for p in parameters if p.name in FOLLOW_NAMES}
        try:
            config = self.config()
        except ValueError:  # bad values from the start: let the user correct them one by one
            return SetParametersResult(successful=True)
        try:
            config.changed(changes)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_change(self, changes: Mapping[str, Any]) -> None:
        # Only record the changes: on Humble another callback may still refuse them.
        self.changed = True
        self.hold_set = changes.get('start_on_hold', self.hold_set)
        late = sorted(self._late.intersection(changes))
        if late:
            self._node.get_logger().info(
                f'{", ".join(late)}: takes effect when the node is configured and activated again'
            )
