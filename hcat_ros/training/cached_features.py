# SPDX-License-Identifier: Apache-2.0
"""Features of a frozen backbone on disk, so that several training runs compute them only once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hcat_ros.network.hcat import HCAT
from hcat_ros.training.groups import GroupDataset
from hcat_ros.training.kept_groups import (
    KeptGroups,
    Origin,
    claim,
    keep_truth,
    missing_parts,
    part_file,
    part_groups,
    truth_fields,
    write_rows,
)


def features_folder(lessons: Path, origin: Origin) -> Path:
    """Return the folder of a backbone's features, a subfolder of the folder of their views."""
    name, digest = origin['backbone'].split(' ')
    return lessons / f'features-{name.replace("/", "-")}-{digest[:8]}'


def write_features(
    folder: Path,
    origin: Origin,
    data: GroupDataset | KeptGroups,
    model: HCAT,
    parts: Iterable[int] | None = None,
    progress: Callable[[int], None] = lambda groups: None,
) -> None:
    """Write the backbone's features of groups, in float16, with their truth and lessons.

    data: newly drawn groups, or stored views. parts: numbers of the parts to write, so that
    processes can share the work; None writes all missing parts. Existing parts are always complete.
    progress: called with 1 after each group. Raises ValueError for a folder of another origin and
    for features beyond float16's range.
    """
    claim(folder, origin)
    missing = missing_parts(folder, origin)
    backbone = copy.deepcopy(model.backbone).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for number in missing if parts is None else parts:
        groups = part_groups(origin, number)
        rows = np.zeros(len(groups), CachedGroups.fields(origin))
        for row, index in zip(rows, groups):
            group = data[index]
            for name in ('templates', 'searches'):
                row[name] = _features(backbone, model.normalise(getattr(group, name)))
            keep_truth(row, group)
            progress(1)
        write_rows(part_file(folder, number), rows)


class CachedGroups(KeptGroups):
    """Groups that hold features instead of images, read from the files of `write_features`."""

    has_crops = False

    @staticmethod
    def fields(origin: Origin) -> list[Any]:
        """Return the fields of a group: its features, its truth and its lesson."""
        views = origin['views']
        return [
            ('templates', '<f2', (views, *origin['template'])),
            ('searches', '<f2', (views, *origin['search'])),
            *truth_fields(origin),
        ]

    def inputs(self, part: int, row: Any) -> Sequence[NDArray[Any]]:
        """Return the features of templates (V, C, 8, 8) and search regions (V, C, 16, 16)."""
        return np.array(row['templates']), np.array(row['searches'])


@torch.inference_mode()
def _features(backbone: nn.Module, images: Tensor) -> NDArray[np.float16]:
    """Return the features (V, C, h, w) of normalised images (V, 3, H, W)."""
    found: Tensor = backbone(images.contiguous(memory_format=torch.channels_last))
    kept = found.half()
    if not torch.isfinite(kept).all():
        raise ValueError(f'features up to {found.abs().max():g} do not fit float16')
    return np.asarray(kept.contiguous().numpy())
