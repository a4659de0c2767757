# SPDX-License-Identifier: Apache-2.0
"""Launch arguments, which are texts, as values, and what `ros2 launch` does not check about them.

It takes names that nobody declared, and what one included launch file was given holds for those
that are included after it, too.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')
EXPECTED = {
    bool: 'true or false',
    int: 'a whole number',
    float: 'a number',
    list: "'[x, y, w, h]'",
}
"""What a text must hold to be a value of a type."""
ALIKE = 0.8
"""Share of a name from which another one is that one misspelt. Others may be for a launch file that
includes the one that asks."""


def refuse_misspelt(given: Iterable[str], declared: Collection[str]) -> None:
    """Raise ValueError if a name that was given is none of the declared ones but almost one."""
    for name in given:
        if name in declared:
            continue
        near = difflib.get_close_matches(name, declared, 1, ALIKE)
        if near:
            raise ValueError(f'launch argument {name}: there is none; did you mean {near[0]}?')


EARLIER = 'hcat_ros.earlier_arguments'
"""Launch configuration with the arguments of the launch files of ours before, as JSON."""
TELLING_APART = ('namespace', 'node_name', 'image', 'init_box')
"""Arguments of which no two trackers have all the same."""
RESPAWN_DELAY = 2.0
"""Seconds before a node that has ended is started again."""


def parse_value(argument: str, text: str, kind: type) -> object:
    """Return an argument's text as a value of its type, `1` as 1.0 where a number is due.

    Raises ValueError naming the argument, its value and what is expected. Whether the value is in
    range is for the node to say.
    """
    if kind is str:
        return text
    try:
        # Brackets may be left out: init_box:=10,20,30,40
        as_list = kind is list and not text.lstrip().startswith('[')
        value = yaml.safe_load(f'[{text}]' if as_list else text)
        if kind is list:
            return [float(item) for item in value]
        if kind is float and not isinstance(value, bool):
            return float(value)
        if type(value) is kind:
            return value
    except (yaml.YAMLError, TypeError, ValueError):
        pass
    raise ValueError(f"launch argument {argument}:='{text}': expected {EXPECTED[kind]}")


def parse_parameters(values: Mapping[str, str], kinds: Mapping[str, type]) -> dict[str, object]:
    """Return the parameters that arguments set, in their types; empty arguments set none.

    values: texts by argument. kinds: types by parameter. Raises ValueError as `parse_value`.
    """
    return {
        name: parse_value(name, values[name], kind)
        for name, kind in kinds.items()
        if values.get(name)
    }


def check_choice(argument: str, text: str, choices: Collection[str]) -> str:
    """Return an argument's text. Raises ValueError if it is none of the choices."""
    if text not in choices:
        raise ValueError(f"launch argument {argument}:='{text}': expected {' or '.join(choices)}")
    return text


def check_file(argument: str, path: str | Path) -> str:
    """Return the path. Raises ValueError if no file is there."""
    if not Path(path).is_file():
        raise ValueError(f'launch argument {argument}: no file {path}')
    return str(path)


def check_node_name(argument: str, name: str) -> str:
    """Return a node's name. Raises ValueError for one that ROS does not take."""
    if not re.fullmatch(r'[A-Za-z_]\w*', name, re.ASCII):
        raise ValueError(
            f"launch argument {argument}:='{name}': expected letters, digits and underscores"
        )
    return name


def inherited(context: Any, names: Iterable[str]) -> dict[str, str]:
    """Return the arguments that hold what an earlier launch file of ours was given.

    context: a launch.LaunchContext. Those of the command line are meant for all, and left out.
    Notes the present arguments for the launch files to come.
    """
    values: Mapping[str, str] = context.launch_configurations
    earlier = json.loads(values.get(EARLIER, '{}'))
    for_all = {word.partition(':=')[0] for word in context.argv or ()}
    present = {name: values[name] for name in names}
    context.launch_configurations[EARLIER] = json.dumps({**earlier, **present})
    return {
        name: value
        for name, value in present.items()
        if value and name not in for_all and earlier.get(name) == value
    }


def inherited_warning(context: Any, names: Iterable[str] = TELLING_APART) -> str:
    """Return what two trackers of one launch file seem to share by mistake, empty if nothing."""
    found = inherited(context, names)
    if 'namespace' not in found and context.launch_configurations.get('namespace'):
        return ''  # told apart by it
    told = ', '.join(f'{name}:={value}' for name, value in found.items() if name != 'node_name')
    if not told:
        return ''
    return (
        f'{told} also held for what was included before: launch passes arguments on from one '
        'include to the next; put each into a group of its own, scoped and not forwarding'
    )
