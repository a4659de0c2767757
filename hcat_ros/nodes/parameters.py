# SPDX-License-Identifier: Apache-2.0
"""Declares parameters with type, range and description, and reads them with clear errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from hcat_ros.files import shown


@dataclass(frozen=True)
class Setting:
    """A parameter of a node."""

    name: str
    kind: type
    """bool, int, float, str, or list for an array of numbers."""
    default: Any
    """Default value; None leaves the parameter unset, and its reader has another source."""
    description: str
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    live: bool = False
    """Whether a change takes effect while the node runs."""
    longest: int = 4096
    """Maximum length of a string; the default is the longest path on Linux."""
    least: float = 0.0
    """Smallest value above 0, for settings in which 0 means unset; 0: only `low` is checked."""

    def checked(self, value: Any) -> Any:
        """Return the value in the setting's type. Raises ValueError naming value and remedy.

        An int is accepted for a float, so that `window_penalty:=1` works, and for a string, so that
        the camera `source:=0` works, because ROS reads both as integers. 'null' counts as unset,
        because `ros2 param dump` writes it for unset parameters and ROS reads it as a string.
        """
        if value is None or (value == 'null' and self.default is None):
            if self.default is not None:
                raise ValueError(f'{self.name} is not set: expected {self.expected}')
            return None
        if self.kind is list:
            if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
                raise ValueError(f'{self.name} {shown(value)}: expected {self.expected}')
            items = list(value)
            if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in items):
                raise ValueError(f'{self.name} {shown(items)}: expected {self.expected}')
            return [float(item) for item in items]
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.kind is str and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if type(value) is not self.kind:
            raise ValueError(f'{self.name} {shown(value)}: expected {self.expected}')
        if isinstance(value, str) and len(value) > self.longest:
            raise ValueError(
                f'{self.name} {shown(value)} has {len(value)} characters: expected at most '
                f'{self.longest}'
            )
        if self.choices and value not in self.choices:
            raise ValueError(f'{self.name} {shown(value)}: expected {self.expected}')
        number: Any = value
        outside = self.kind in (int, float) and not self.low <= number <= self.high
        if outside or (self.least and 0 < number < self.least):
            raise ValueError(f'{self.name} {value:g}: expected {self.expected}')
        return value

    @property
    def expected(self) -> str:
        """Description of the values that the setting accepts."""
        if self.choices:
            return ' or '.join(self.choices)
        if self.kind is list:
            return 'an array of numbers'
        names = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a text'}
        if self.kind in (int, float) and math.isfinite(self.low) and math.isfinite(self.high):
            bounds = f'{names[self.kind]} from {self.least or self.low:g} to {self.high:g}'
            return f'0 or {bounds}' if self.least else bounds
        return names[self.kind]

    def descriptor(self) -> ParameterDescriptor:
        """Return the descriptor that `ros2 param describe` and rqt show."""
        # Dynamic typing lets ROS accept an int for a float; `checked` checks the type.
        descriptor = ParameterDescriptor(
            name=self.name, description=self.description, dynamic_typing=True
        )
        descriptor.additional_constraints = f'expects {self.expected}' + (
            '' if self.live else '; read only when the node is configured or started'
        )
        if math.isfinite(self.low) and math.isfinite(self.high):
            if self.kind is float:
                bounds = FloatingPointRange(from_value=float(self.low), to_value=float(self.high))
                descriptor.floating_point_range = [bounds]
            else:
                whole = IntegerRange(from_value=int(self.low), to_value=int(self.high), step=1)
                descriptor.integer_range = [whole]
        return descriptor


class Settings:
    """The declared settings of one node.

    A bad value at the start is replaced by the default, so that the node comes up: `values` then
    raises the error, and `settings[name]` returns the default. A bad value later is refused with
    the reason. `on_change` receives accepted values by name, in the settings' types, after they are
    set; on Humble before that, when another callback of the node may still refuse them.
    Create one object per node: rclpy concatenates what several pre-set callbacks return.
    """

    def __init__(
        self,
        node: Node,
        settings: Sequence[Setting],
        on_change: Callable[[Mapping[str, Any]], None] = lambda changes: None,
    ) -> None:
        self._node = node
        self._on_change = on_change
        self._settings: dict[str, Setting] = {}
        self._problems: dict[str, str] = {}
        self.declare(settings)
        self._applies_once_set = hasattr(node, 'add_post_set_parameters_callback')
        if self._applies_once_set:  # not on Humble
            node.add_pre_set_parameters_callback(self._convert)
            node.add_post_set_parameters_callback(self._apply)
        node.add_on_set_parameters_callback(self._check)

    def declare(self, settings: Sequence[Setting]) -> None:
        """Declare more settings, whose defaults may depend on the first ones."""
        for setting in settings:
            self._declare(setting)
            self._settings[setting.name] = setting  # from here on, `on_change` is called for it

    def _declare(self, setting: Setting) -> None:
        descriptor = setting.descriptor()
        try:
            self._node.declare_parameter(setting.name, setting.default, descriptor)
            given = self._node.get_parameter(setting.name)
            if (converted := _in_type(setting, given)) is not given:
                self._node.set_parameters([converted])
            setting.checked(self._node.get_parameter(setting.name).value)
        except (ParameterException, ValueError) as error:
            # Humble's errors carry the parameter's name as a second argument.
            self._problems[setting.name] = ': '.join(map(str, error.args))
            if self._node.has_parameter(setting.name):
                self._node.undeclare_parameter(setting.name)
            self._node.declare_parameter(
                setting.name, setting.default, descriptor, ignore_override=True
            )

    def _convert(self, parameters: list[Parameter]) -> list[Parameter]:
        """Return the parameters in the settings' types: an int becomes a float or string if needed.

        Bad values are returned unchanged; `_check` refuses them later.
        """
        return [_in_type(self._settings.get(each.name), each) for each in parameters]

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            setting = self._settings.get(parameter.name)
            if setting is None:
                continue
            try:
                value = None if parameter.value is None else setting.checked(parameter.value)
                if value is None and (parameter.value is None or self[setting.name] is not None):
                    raise ValueError(f'{setting.name} cannot be unset: expected {setting.expected}')
            except ValueError as error:
                return SetParametersResult(successful=False, reason=str(error))
        if not self._applies_once_set:
            self._apply(parameters)
        return SetParametersResult(successful=True)

    def _apply(self, parameters: list[Parameter]) -> None:
        """Pass new values, which `_check` has accepted, to `on_change`."""
        known = [each for each in parameters if each.name in self._settings]
        values = {each.name: self._settings[each.name].checked(each.value) for each in known}
        changes = {name: value for name, value in values.items() if value is not None}
        for name in changes:
            self._problems.pop(name, None)
        if changes:
            self._on_change(changes)

    @property
    def problem(self) -> str:
        """Why values given at the start are bad, empty if all are good or corrected."""
        return '; '.join(self._problems.values())

    def values(self) -> dict[str, Any]:
        """Return all values. Raises ValueError if a value given at the start was bad."""
        if self.problem:
            raise ValueError(self.problem)
        return {
            name: setting.checked(self._node.get_parameter(name).value)
            for name, setting in self._settings.items()
        }

    def __getitem__(self, name: str) -> Any:
        """Return one value; the default if the value given at the start was bad."""
        return self._settings[name].checked(self._node.get_parameter(name).value)


def _in_type(setting: Setting | None, parameter: Parameter) -> Parameter:
    """Return a parameter in its setting's type, unchanged if the setting refuses its value."""
    if setting is None or parameter.value is None:
        return parameter
    try:
        value = setting.checked(parameter.value)
    except ValueError:
        return parameter
    return parameter if value is None else Parameter(parameter.name, value=value)
