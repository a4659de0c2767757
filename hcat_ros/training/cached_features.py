# SPDX-License-Identifier: Apache-2.0
"""Features of a frozen backbone, kept on disk: trainings that share one need it once alone."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from hcat_ros.network.hcat import HCAT
from hcat_ros.training.config import TrainConfig
from hcat_ros.training.groups import Group, GroupDataset
from hcat_ros.training.teachers import NanoTrack

ORIGIN_FILE = 'origin.json'
PART_GROUPS = 32
"""Groups in a file: what an interrupted cache begins again."""


def feature_origin(config: TrainConfig, model: HCAT, groups: int) -> dict[str, Any]:
    """Return all that decides what is in a cache of `groups` groups.

    The run's data and how it is changed, its seed and sizes, and the weights of the model's
    backbone. Raises ValueError for teachers, whose lessons are not kept.
    """
    if config.teachers:
        raise ValueError('teachers: their lessons are not kept with features; leave them out')
    network, digest = config.network, hashlib.sha256()
    for name, value in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    channels = int(model.backbone.channels)
    origin = {
        'groups': groups,
        'views': config.schedule.views,
        'seed': config.schedule.seed,
        'template': [channels, network.template_grid, network.template_grid],
        'search': [channels, network.search_grid, network.search_grid],
        'stride': network.stride,
        'backbone': f'{network.backbone} {digest.hexdigest()}',
        'data': [asdict(row) for row in config.data],
        'chances': asdict(config.chances),
        'geometry': asdict(config.geometry),
        'surroundings': config.surroundings,
        'distractors': config.distractors,
    }
    return dict(json.loads(json.dumps(origin)))  # as a file will give it back


def claim(path: Path, wanted: dict[str, Any]) -> None:
    """Note in a file what its folder is made of; refuse a folder made of something else.

    Raises ValueError naming the fields that differ.
    """
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding='utf-8'))
            differing = [
                name for name in {**found, **wanted} if found.get(name) != wanted.get(name)
            ]
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f'{path} is damaged ({error}); delete its folder') from error
        if differing:
            name = differing[0]
            raise ValueError(
                f'{path.parent} was made with another {", ".join(differing)} '
                f'({name}: {found.get(name)!r}, now {wanted.get(name)!r}); take another folder or '
                'delete this one'
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.{os.getpid()}.partial')
    partial.write_text(json.dumps(wanted, indent=2), encoding='utf-8')
    os.replace(partial, path)


def missing_parts(folder: Path, origin: dict[str, Any]) -> list[int]:
    """Return the numbers of the files that a cache lacks. Raises ValueError as `claim`."""
    claim(folder / ORIGIN_FILE, origin)
    count = -(-origin['groups'] // PART_GROUPS)
    return [number for number in range(count) if not _part(folder, number).is_file()]


def write_features(
    folder: Path,
    origin: dict[str, Any],
    data: GroupDataset,
    model: HCAT,
    parts: Iterable[int] | None = None,
    progress: Callable[[int], None] = lambda groups: None,
) -> None:
    """Draw the groups of a cache and write what the backbone makes of them, in float16.

    parts: numbers of files, all that are missing unless given, so that processes can share the
    work; what is there is whole. progress(groups done): called after each. Raises ValueError for
    a folder of another origin and for features beyond float16's range.
    """
    missing = missing_parts(folder, origin)
    backbone = copy.deepcopy(model.backbone).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for number in missing if parts is None else parts:
        first = number * PART_GROUPS
        rows = np.zeros(min(PART_GROUPS, origin['groups'] - first), _row(origin))
        for row, index in enumerate(range(first, first + len(rows))):
            group = data[index]
            for name in ('templates', 'searches'):
                rows[name][row] = _features(backbone, model.normalise(getattr(group, name)))
            rows['boxes'][row], rows['shown'][row] = group.boxes.numpy(), group.shown.numpy()
            progress(1)
        path = _part(folder, number)
        partial = path.with_name(f'{path.name}.{os.getpid()}.partial')
        with partial.open('wb') as file:
            np.save(file, rows)
        os.replace(partial, path)


class CachedGroups(Dataset[Group]):
    """Groups of features in place of images, from the files of `write_features`.

    templates are float16 (V, C, 8, 8), searches (V, C, 16, 16). The groups first to last - 1 are
    given again and again, in each round all of them in an order of the seed's own. Raises
    ValueError for a cache of another origin or that is not whole.
    """

    def __init__(
        self,
        folder: Path,
        origin: dict[str, Any],
        seed: int = 0,
        first: int = 0,
        last: int | None = None,
    ) -> None:
        if missing := missing_parts(folder, origin):
            raise ValueError(f'{folder} lacks {len(missing)} files: write its features first')
        last = origin['groups'] if last is None else last
        if not 0 <= first < last <= origin['groups']:
            raise ValueError(f'groups {first} to {last}: the cache has {origin["groups"]}')
        self.teachers: list[NanoTrack] = []
        self.seed, self.first, self.count = seed, first, last - first
        self._files: dict[int, NDArray[Any]] = {}
        for number in range(first // PART_GROUPS, -(-last // PART_GROUPS)):
            path = _part(folder, number)
            try:
                rows = np.load(path, mmap_mode='r')
            except (ValueError, EOFError) as error:
                raise ValueError(f'{path} is damaged ({error}); delete it') from error
            count = min(PART_GROUPS, origin['groups'] - number * PART_GROUPS)
            if rows.dtype != _row(origin) or len(rows) != count:
                raise ValueError(f'{path} has {len(rows)} rows of {rows.dtype}; delete it')
            self._files[number] = rows
        self._round, self._order = -1, np.arange(self.count)

    def __len__(self) -> int:
        return 1 << 40  # as `GroupDataset`: any step has its groups

    def __getitem__(self, index: int) -> Group:
        turn, place = divmod(index, self.count)
        if turn != self._round:
            self._round = turn
            self._order = np.random.default_rng([self.seed, turn]).permutation(self.count)
        return self.group(int(self._order[place]))

    def group(self, number: int) -> Group:
        """Return a group by its number from `first` on, whatever the seed."""
        part, row = divmod(self.first + number, PART_GROUPS)
        kept = self._files[part][row]
        # Copies: a tensor cannot be of memory that is not to be written.
        templates, searches, boxes, shown = (
            torch.from_numpy(np.array(kept[name]))
            for name in ('templates', 'searches', 'boxes', 'shown')
        )
        return Group(templates, searches, boxes, shown)


def _part(folder: Path, number: int) -> Path:
    return folder / f'part-{number:04d}.npy'


def _row(origin: dict[str, Any]) -> np.dtype[Any]:
    """Return the type of a group in a file."""
    views = origin['views']
    return np.dtype(
        [
            ('templates', '<f2', (views, *origin['template'])),
            ('searches', '<f2', (views, *origin['search'])),
            ('boxes', '<f4', (views, 4)),
            ('shown', '?', (views,)),
        ]
    )


@torch.inference_mode()
def _features(backbone: nn.Module, images: Tensor) -> NDArray[np.float16]:
    """Return the features (V, C, h, w) of normalised images (V, 3, H, W)."""
    found: Tensor = backbone(images.contiguous(memory_format=torch.channels_last))
    kept = found.half()
    if not torch.isfinite(kept).all():
        raise ValueError(f'features up to {found.abs().max():g} do not fit float16')
    return np.asarray(kept.contiguous().numpy())
