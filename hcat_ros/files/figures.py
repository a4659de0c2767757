# SPDX-License-Identifier: Apache-2.0
"""Writes Matplotlib figures. The extra `evaluate` installs Matplotlib."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from hcat_ros.files.reading import printable
from hcat_ros.files.writing import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_figure(option: str, path: Path) -> None:
    """Check that `write_figure` can write a figure; option: the command's option in messages.

    Raises RuntimeError if Matplotlib is not installed; ValueError for the suffix of another format.
    """
    if path.suffix.lower() not in ('', '.png'):
        raise ValueError(f'{option} {printable(path)}: expected a name that ends in .png')
    if importlib.util.find_spec('matplotlib') is None:
        raise RuntimeError(f"{option} needs matplotlib; pip install 'hcat_ros[evaluate]'")


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, completely or not at all. Raises OSError."""
    with whole_file(path) as partial:
        figure.savefig(partial, format='png')
