# SPDX-License-Identifier: Apache-2.0
"""Topics and services of a node, from the ROS graph."""

import time
from collections.abc import Callable, Collection

NamesAndTypes = list[tuple[str, list[str]]]


def named_by(
    ask: Callable[[str, str], NamesAndTypes], node: str, names: Collection[str]
) -> dict[str, list[str]]:
    """Return the types of the topics or services of a node in the root namespace, by name.

    DDS announces an endpoint some time after it was created, so `ask` is repeated until all
    `names` are there, or for 20 s.
    """
    deadline = time.monotonic() + 20
    while True:
        found = dict(ask(node, '/'))
        if set(names) <= found.keys() or time.monotonic() > deadline:
            return found
        time.sleep(0.05)
