# SPDX-License-Identifier: Apache-2.0
"""The systems of the paper, and the paths of their run files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hcat_ros.models import installed_folders

FOLDER = 'config/paper'

SYSTEMS = {
    'hcat': 'HCAT (N = 2, S = 16, stride 16)',
    'hcat_n1': 'HCAT, N = 1',
    'baseline_sa': 'Baseline-SA',
    'baseline': 'Baseline',
    'hierarchical': '+Hierarchical',
    'transt': 'TransT',
    'transt_h': 'TransT.H',
    'hcat_s1': 'HCAT, S = 1',
    'hcat_s4': 'HCAT, S = 4',
    'hcat_s9': 'HCAT, S = 9',
    'hcat_s25': 'HCAT, S = 25',
    'hcat_stride8': 'HCAT, stride 8',
    'hcat_resnet50': 'HCAT, ResNet-50',
    'hcat_convnext_tiny': 'HCAT, ConvNeXt-tiny',
    'hcat_mobilenetv2': 'HCAT, MobileNetV2',
    'hcat_lite0': 'HCAT, EfficientNet-Lite0',
}
"""Titles of the systems, by the name of their file in config/paper/."""


def run_file(name: str) -> Path:
    """Return the run file of a system, from a checkout or an installed package.

    Raises ValueError for an unknown system; FileNotFoundError if the file is not installed.
    """
    if name not in SYSTEMS:
        raise ValueError(f"no system '{name}' in the paper; there are {', '.join(SYSTEMS)}")
    for folder in installed_folders(FOLDER):
        if (folder / f'{name}.yaml').is_file():
            return folder / f'{name}.yaml'
    raise FileNotFoundError(f'no {FOLDER}/{name}.yaml is installed; install hcat_ros again')


def select_systems(names: Sequence[str] | None) -> list[str]:
    """Return these names in the order of `SYSTEMS`, or all systems if there are no names.

    Raises ValueError for an unknown system.
    """
    for name in names or ():
        if name not in SYSTEMS:
            raise ValueError(f"no system '{name}' in the paper; there are {', '.join(SYSTEMS)}")
    return [name for name in SYSTEMS if not names or name in names]


class Cost(NamedTuple):
    """The size and computing cost of a system's network, batch 1."""

    parameters: int
    whole: int
    """Multiply-adds of template and search."""
    authors: int
    """Multiply-adds of a frame in the authors' form: the whole search, and again the template's
    layers after the backbone."""
    ours: int
    """Multiply-adds of a frame in our form, which computes the template's part only once."""
