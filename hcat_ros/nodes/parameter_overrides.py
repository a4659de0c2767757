# SPDX-License-Identifier: Apache-2.0
"""Finds parameters that were given to a node and have no effect, which ROS ignores silently.

The node has no parameter of that name, or the file holds parameters for a node of another name.
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
"""Parameters of ROS itself that every node accepts."""
QOS = 'qos_overrides.'
"""Prefix of QoS parameters, which a node declares together with the topic."""
ALIKE = 0.85
"""Similarity (0 to 1) from which a node's name counts as misspelt."""


def useless_overrides(node: Node, words: Sequence[str], others: Collection[str] = ()) -> list[str]:
    """Return descriptions of the given parameters that have no effect on a node.

    words: the command line of the process. others: parameters of nodes that share parameter files
    with this node.
    """
    # rclpy has no public access to parameters that were given but not declared.
    given: Mapping[str, Any] = getattr(node, '_parameter_overrides', {})
    declared = list(node.get_parameters_by_prefix(''))
    problems = [
        f'this node has no parameter {name}{_suggestion(name, declared)}'
        for name in sorted(given)
        if name not in declared and name not in (*OF_ROS, *others) and not name.startswith(QOS)
    ]
    own = node.get_fully_qualified_name()
    for path in _files(words):
        try:
            names = list(_nodes(load_yaml(path)))
        except (OSError, ValueError, yaml.YAMLError):
            continue  # rcl has logged the reason
        misspelt = difflib.get_close_matches(
            own, ['/' + name.lstrip('/') for name in names], 1, ALIKE
        )
        if names and not any(is_for_node(name, own) for name in names):
            problems.append(
                f'{path} has parameters for {", ".join(names[:5])}, but none for this node, {own}'
            )
        elif misspelt and not is_for_node(misspelt[0], own) and not _is_sibling(misspelt[0], own):
            problems.append(f'{path} has parameters for {misspelt[0]}: did you mean {own}?')
    return problems


def warn_of_useless_overrides(node: Node) -> None:
    """Log the given parameters that have no effect on a node of this process."""
    for problem in useless_overrides(node, sys.argv):
        node.get_logger().warning(problem)


def useless_qos(node: Node) -> list[str]:
    """Describe QoS overrides that match no topic of a node; call once all its topics exist."""
    given: Mapping[str, Any] = getattr(node, '_parameter_overrides', {})
    declared = list(node.get_parameters_by_prefix(''))
    return [
        f'no topic of this node has a parameter {name}{_suggestion(name, declared)}'
        for name in sorted(given)
        if name.startswith(QOS) and name not in declared
    ]


def _suggestion(name: str, declared: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, declared, 1)
    return f': did you mean {near[0]}?' if near else ''


def _files(words: Sequence[str]) -> Iterator[Path]:
    """Yield the parameter files on a command line."""
    for word, following in itertools.pairwise(words):
        if word == '--params-file':
            yield Path(following)


def _nodes(tree: Any, above: str = '') -> Iterator[str]:
    """Yield the node names in a parameter file, with their namespaces."""
    for name, below in tree.items() if isinstance(tree, dict) else ():
        path = f'{above}/{name}' if above else str(name)
        if isinstance(below, dict) and 'ros__parameters' in below:
            yield path
        else:
            yield from _nodes(below, path)


def is_for_node(name: str, own: str) -> bool:
    """Return whether a name in a parameter file, perhaps with `*` or `**`, matches a node.

    own: full name of the node. As in rcl, a name without a namespace is in the root namespace.
    """
    parts = re.split(r'(\*\*|\*)', '/' + name.lstrip('/'))
    pattern = ''.join({'**': '.*', '*': '[^/]+'}.get(part, re.escape(part)) for part in parts)
    # `/**/name` also matches a node without a namespace.
    return re.fullmatch(pattern.replace('/.*/', '/(.*/)?'), own) is not None


def _is_sibling(name: str, own: str) -> bool:
    """Return whether a name differs from a node's name only in its namespace or number."""
    last, own_last = name.rpartition('/')[2], own.rpartition('/')[2]
    return last == own_last or re.sub(r'\d+', '', last) == re.sub(r'\d+', '', own_last)
