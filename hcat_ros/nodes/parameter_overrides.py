# SPDX-License-Identifier: Apache-2.0
"""Parameters that were given to a node and reach nothing, which ROS passes over without a word.

They have a name that the node does not have, or are in a file for a node that is not there.
"""

from __future__ import annotations

import difflib
import itertools
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rclpy.node import Node

from hcat_ros.files import load_yaml

OF_ROS = ('use_sim_time', 'start_type_description_service')
"""Parameters that every node may be given."""
QOS = 'qos_overrides.'
"""Begins the names of parameters that are declared with the topic that they are for."""
ALIKE = 0.85
"""Share of a node's name from which another name is that one misspelt."""


def useless_overrides(node: Node, words: Sequence[str], others: Collection[str] = ()) -> list[str]:
    """Return what was given to a node and reaches nothing, in words.

    words: the command line of the process. others: parameters of the nodes that share files with
    this one.
    """
    # rclpy offers no other way to what was given and not declared.
    given: Mapping[str, Any] = getattr(node, '_parameter_overrides', {})
    declared = list(node.get_parameters_by_prefix(''))
    problems = [
        f'this node has no parameter {name}{_nearest(name, declared)}'
        for name in sorted(given)
        if name not in declared and name not in (*OF_ROS, *others) and not name.startswith(QOS)
    ]
    own = node.get_fully_qualified_name()
    for path in _files(words):
        try:
            names = list(_nodes(load_yaml(path)))
        except (OSError, ValueError, yaml.YAMLError):
            continue  # rcl has said why
        misspelt = difflib.get_close_matches(
            own, ['/' + name.lstrip('/') for name in names], 1, ALIKE
        )
        if names and not any(is_for_node(name, own) for name in names):
            problems.append(
                f'{path} has parameters for {", ".join(names[:5])}, none for this node, {own}'
            )
        elif misspelt and not is_for_node(misspelt[0], own) and not _is_common(misspelt[0], own):
            problems.append(f'{path} has parameters for {misspelt[0]}: did you mean {own}?')
    return problems


def warn_of_useless_overrides(node: Node) -> None:
    """Log what was given to a node of this process and reaches nothing."""
    for problem in useless_overrides(node, sys.argv):
        node.get_logger().warning(problem)


def useless_qos(node: Node) -> list[str]:
    """Return which QoS overrides are of no topic of a node that has made all its own, in words."""
    given: Mapping[str, Any] = getattr(node, '_parameter_overrides', {})
    declared = list(node.get_parameters_by_prefix(''))
    return [
        f'no topic of this node has a parameter {name}{_nearest(name, declared)}'
        for name in sorted(given)
        if name.startswith(QOS) and name not in declared
    ]


def _nearest(name: str, declared: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, declared, 1)
    return f': did you mean {near[0]}?' if near else ''


def _files(words: Sequence[str]) -> Iterator[Path]:
    """Yield the parameter files on a command line."""
    for word, following in itertools.pairwise(words):
        if word == '--params-file':
            yield Path(following)


def _nodes(tree: Any, above: str = '') -> Iterator[str]:
    """Yield the names of nodes that a parameter file is for, with their namespaces."""
    for name, below in tree.items() if isinstance(tree, dict) else ():
        path = f'{above}/{name}' if above else str(name)
        if isinstance(below, dict) and 'ros__parameters' in below:
            yield path
        else:
            yield from _nodes(below, path)


def is_for_node(name: str, own: str) -> bool:
    """Return whether a node's name in a parameter file, perhaps with `*` or `**`, means a node.

    own: full name of the node. Like rcl, it takes a name without a namespace to be in the root.
    """
    parts = re.split(r'(\*\*|\*)', '/' + name.lstrip('/'))
    pattern = ''.join({'**': '.*', '*': '[^/]+'}.get(part, re.escape(part)) for part in parts)
    # `/**/name` is also the one without a namespace.
    return re.fullmatch(pattern.replace('/.*/', '/(.*/)?'), own) is not None


def _is_common(name: str, own: str) -> bool:
    """Return whether a name differs from a node's in its namespace or number alone."""
    last, own_last = name.rpartition('/')[2], own.rpartition('/')[2]
    return last == own_last or re.sub(r'\d+', '', last) == re.sub(r'\d+', '', own_last)
