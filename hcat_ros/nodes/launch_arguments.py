# SPDX-License-Identifier: Apache-2.0
"""Launch arguments of a name that nobody declared, which `ros2 launch` takes without a word."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

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
