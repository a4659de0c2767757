# SPDX-License-Identifier: Apache-2.0
"""Parses launch arguments, which are strings, and checks what `ros2 launch` does not check.

`ros2 launch` accepts names that no launch file declares, and arguments that are given to one
included launch file also apply to all launch files that are included after it.
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
"""Description, for each type, of the text that can be parsed as this type."""
ALIKE = 0.8
"""Similarity (0 to 1) from which a name counts as a misspelling. Other names may be meant for a
launch file that includes the checking launch file."""


def refuse_misspelt(given: Iterable[str], declared: Collection[str]) -> None:
    """Raise ValueError if a given name is not declared but resembles a declared one."""
    for name in given:
        if name in declared:
            continue
        near = difflib.get_close_matches(name, declared, 1, ALIKE)
        if near:
            raise ValueError(f'launch argument {name} does not exist; did you mean {near[0]}?')


EARLIER = 'hcat_ros.earlier_arguments'
"""Launch configuration that stores the arguments of earlier launch files of ours, as JSON."""
TELLING_APART = ('namespace', 'node_name', 'image', 'init_box')
"""Arguments that tell trackers apart: any two trackers differ in at least one."""
RESPAWN_DELAY = 2.0
"""Seconds before a node that has ended is restarted."""


def parse_value(argument: str, text: str, kind: type) -> object:
    """Return an argument's text as a value of its type; `1` becomes 1.0 for a float.

    Raises ValueError naming the argument, its value and what is expected. The node itself checks
    whether the value is in range.
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
    """Return the parameters that arguments set, in their types; empty arguments are left out.

    values: texts by argument name. kinds: types by parameter name. Raises ValueError as
    `parse_value` does.
    """
    return {
        name: parse_value(name, values[name], kind)
        for name, kind in kinds.items()
        if values.get(name)
    }


def check_choice(argument: str, text: str, choices: Collection[str]) -> str:
    """Return an argument's text. Raises ValueError unless it is one of the choices."""
    if text not in choices:
        raise ValueError(f"launch argument {argument}:='{text}': expected {' or '.join(choices)}")
    return text


def check_file(argument: str, path: str | Path) -> str:
    """Return the path. Raises ValueError if the file does not exist."""
    if not Path(path).is_file():
        raise ValueError(f'launch argument {argument}: no file {path}')
    return str(path)


def check_node_name(argument: str, name: str) -> str:
    """Return a node's name. Raises ValueError if ROS does not accept it."""
    if not re.fullmatch(r'[A-Za-z_]\w*', name, re.ASCII):
        raise ValueError(
            f"launch argument {argument}:='{name}': expected letters, digits and underscores"
        )
    return name


def inherited(context: Any, names: Iterable[str]) -> dict[str, str]:
    """Return the arguments that still have the value given to an earlier launch file of ours.

    context: a launch.LaunchContext. Arguments of the command line are meant for all launch files
    and are left out. Stores the current arguments for later launch files.
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
    """Return a warning about values that two trackers seem to share by mistake, else ''."""
    found = inherited(context, names)
    if 'namespace' not in found and context.launch_configurations.get('namespace'):
        return ''  # the namespace tells the trackers apart
    shared = ', '.join(f'{name}:={value}' for name, value in found.items() if name != 'node_name')
    if not shared:
        return ''
    return (
        f'{shared} was also given to an earlier include: launch passes arguments on from one '
        'include to the next; put each include into its own group, scoped and not forwarding'
    )
