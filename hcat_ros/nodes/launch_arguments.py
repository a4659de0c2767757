# SPDX-License-Identifier: Apache-2.0
"""Launch arguments that go wrong without a word from `ros2 launch`.

It takes names that nobody declared, and what one included launch file was given holds for those
that are included after it, too.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

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
