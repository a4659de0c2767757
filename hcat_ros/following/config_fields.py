# SPDX-License-Identifier: Apache-2.0
"""Type, range and description of each setting, for checks, parameters and documentation."""

from __future__ import annotations

import math
from dataclasses import Field, field
from typing import Any, NamedTuple


class ConfigField(NamedTuple):
    """A setting of the configuration; an axis's settings have dotted names, such as yaw.kp."""

    name: str
    type: type
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    description: str


def number(default: float, low: float, high: float, description: str) -> Any:
    """Return a field of a dataclass that takes numbers from `low` to `high`."""
    return field(default=default, metadata={'low': low, 'high': high, 'description': description})


def choice(default: str, choices: tuple[str, ...], description: str) -> Any:
    """Return a field of a dataclass that takes one of `choices`."""
    return field(default=default, metadata={'choices': choices, 'description': description})


def describe_field(name: str, own: Field[Any], prefix: str = '') -> ConfigField:
    """Return the description of a field that `number` or `choice` made."""
    kinds = {'float': float, 'int': int, 'bool': bool, 'str': str}
    meta = own.metadata
    return ConfigField(
        name,
        kinds[str(own.type)],
        meta.get('low'),
        meta.get('high'),
        meta.get('choices', ()),
        prefix + meta['description'],
    )


def check(description: ConfigField, value: Any) -> None:
    """Raise ValueError unless a value has the type and the range of the description."""
    name, kind = description.name, description.type
    if kind is str:
        if value not in description.choices:
            raise ValueError(f'{name} {value!r}: expected one of {", ".join(description.choices)}')
        return
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f'{name} {value!r}: expected true or false')
        return
    allowed = (int,) if kind is int else (int, float)
    low, high = description.low or 0.0, description.high or 0.0
    if (
        isinstance(value, bool)
        or not isinstance(value, allowed)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        whole = 'a whole number from ' if kind is int else ''
        raise ValueError(f'{name} {value!r}: expected {whole}{low:g} to {high:g}')
