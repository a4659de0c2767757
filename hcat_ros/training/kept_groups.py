# SPDX-License-Identifier: Apache-2.0
"""Groups of views on disk, so that drawing them and asking the teachers is done once."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from hcat_ros.files import load_json, whole_file, write_text
from hcat_ros.network.hcat import HCAT
from hcat_ros.training.config import TrainConfig
from hcat_ros.training.groups import Group
from hcat_ros.training.teachers import GRID, Lesson, fingerprint

ORIGIN_FILE = 'origin.json'
PART_GROUPS = 32
"""Groups in a file: what an interrupted writer begins again."""

Origin = dict[str, Any]
"""All that decides what is kept in a folder."""


def views_origin(config: TrainConfig, groups: int) -> Origin:
    """Return the origin of `groups` groups of views and of what the teachers say of them.

    That is the run's data and how it is changed, its seed and sizes, and the teachers' files.
    Raises OSError for a teacher's file that cannot be read.
    """
    origin = {
        'groups': groups,
        'views': config.schedule.views,
        'seed': config.schedule.seed,
        'sizes': [config.network.template_size, config.network.search_size],
        'data': [asdict(row) for row in config.data],
        'chances': asdict(config.chances),
        'geometry': asdict(config.geometry),
        'surroundings': config.surroundings,
        'distractors': config.distractors,
        'teachers': [fingerprint(teacher) for teacher in config.teachers],
    }
    return dict(json.loads(json.dumps(origin)))  # as a file will give it back


def features_origin(views: Origin, model: HCAT) -> Origin:
    """Return the origin of what the backbone of `model` makes of views of that origin."""
    network, digest = model.config, hashlib.sha256()
    for name, value in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    channels = int(model.backbone.channels)
    return {
        **views,
        'template': [channels, network.template_grid, network.template_grid],
        'search': [channels, network.search_grid, network.search_grid],
        'stride': network.stride,
        'backbone': f'{network.backbone} {digest.hexdigest()}',
    }


def read_origin(folder: Path) -> Origin:
    """Return the origin that a folder notes. Raises ValueError for one that has none."""
    path = folder / ORIGIN_FILE
    try:
        origin = load_json(path)
        return {**origin, 'groups': int(origin['groups']), 'views': int(origin['views'])}
    except FileNotFoundError:
        raise ValueError(f'{folder} holds no lessons: make them with hcat lessons') from None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{path} is damaged ({error!r}); delete its folder') from error


def claim(path: Path, wanted: Origin) -> None:
    """Note in a file what its folder is made of; refuse a folder made of something else.

    Raises ValueError naming the fields that differ.
    """
    if path.is_file():
        try:
            found = load_json(path)
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
    write_text(path, json.dumps(wanted, indent=2))


def missing_parts(folder: Path, origin: Origin) -> list[int]:
    """Return the numbers of the files that a folder lacks. Raises ValueError as `claim`."""
    claim(folder / ORIGIN_FILE, origin)
    count = -(-origin['groups'] // PART_GROUPS)
    return [number for number in range(count) if not part_file(folder, number).is_file()]


def part_file(folder: Path, number: int) -> Path:
    """Return the file of the groups from `number` x `PART_GROUPS` on."""
    return folder / f'part-{number:04d}.npy'


def part_groups(origin: Origin, number: int) -> range:
    """Return the numbers of the groups in a file."""
    first = number * PART_GROUPS
    return range(first, min(first + PART_GROUPS, origin['groups']))


def write_rows(path: Path, rows: NDArray[Any]) -> None:
    """Write a file of groups; whoever reads it sees a whole one alone."""
    with whole_file(path) as partial, partial.open('wb') as file:
        np.save(file, rows)


def truth_fields(origin: Origin) -> list[Any]:
    """Return the fields, as of a numpy type, for the truth and the lesson of a group."""
    views = origin['views']
    fields: list[Any] = [('boxes', '<f4', (views, 4)), ('shown', '?', (views,))]
    if origin['teachers']:
        fields += [
            ('taught_scores', '<f2', (views, views, GRID * GRID)),
            ('taught_boxes', '<f4', (views, views, 4)),
        ]
    return fields


def keep_truth(row: Any, group: Group) -> None:
    """Put the truth and the lesson of a group into its row."""
    row['boxes'], row['shown'] = group.boxes.numpy(), group.shown.numpy()
    if group.lesson is not None:
        row['taught_scores'] = group.lesson.scores.numpy()
        row['taught_boxes'] = group.lesson.boxes.numpy()


class KeptGroups(ABC):
    """The groups of a folder. Raises ValueError for one of another origin or that is not whole."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        if missing := missing_parts(folder, origin):
            raise ValueError(
                f'{folder} lacks {len(missing)} files: make them with hcat lessons first'
            )
        self.folder, self.origin = folder, origin
        self.files = -(-origin['groups'] // PART_GROUPS)
        """Number of files."""
        for number in range(self.files):
            path = part_file(folder, number)
            try:
                rows = self.rows(number)
            except (ValueError, EOFError) as error:
                raise ValueError(f'{path} is damaged ({error}); delete it') from error
            count = len(part_groups(origin, number))
            if rows.dtype != np.dtype(self.fields(origin)) or len(rows) != count:
                raise ValueError(f'{path} has {len(rows)} rows of {rows.dtype}; delete it')

    def rows(self, number: int) -> NDArray[Any]:
        """Return the rows of a file, on disk.

        Opened anew each time: a process may hold only so many open files, often 1024.
        """
        return np.load(part_file(self.folder, number), mmap_mode='r')

    has_crops: bool
    """Whether the groups hold images, not a backbone's features."""

    @staticmethod
    @abstractmethod
    def fields(origin: Origin) -> list[Any]:
        """Return the fields of a group in a file, as of a numpy type."""

    @abstractmethod
    def crops(self, number: int, row: Any) -> Sequence[NDArray[Any]]:
        """Return copies of the templates and search regions in a row of file `number`."""

    def __len__(self) -> int:
        return int(self.origin['groups'])

    def __getitem__(self, number: int) -> Group:
        part, place = divmod(number, PART_GROUPS)
        row = self.rows(part)[place]
        templates, searches = self.crops(part, row)
        lesson = None
        if self.origin['teachers']:
            scores = np.array(row['taught_scores'], np.float32)
            boxes = np.array(row['taught_boxes'])
            lesson = Lesson(torch.from_numpy(scores), torch.from_numpy(boxes))
        return Group(
            torch.from_numpy(templates),
            torch.from_numpy(searches),
            torch.from_numpy(np.array(row['boxes'])),
            torch.from_numpy(np.array(row['shown'])),
            lesson,
        )


class Rounds(Dataset[Group]):
    """Kept groups again and again: each round gives all of them, in an order of the seed's own."""

    def __init__(self, kept: Sequence[KeptGroups], seed: int = 0, last: int | None = None) -> None:
        """last: number of groups to take, the first ones; None: all.

        Raises ValueError for more than there are, and for folders of different numbers of views.
        """
        self._kept, self._seed = list(kept), seed
        if len(views := {groups.origin['views'] for groups in kept}) > 1:
            counts = ', '.join(map(str, sorted(views)))
            raise ValueError(f'groups of {counts} views: expected as many in each folder')
        self._ends = np.cumsum([len(groups) for groups in kept])
        self.count = int(self._ends[-1]) if last is None else last
        if not 0 < self.count <= self._ends[-1]:
            raise ValueError(f'{self.count} groups: there are {self._ends[-1]}')
        self._round = -1
        self._order: NDArray[np.intp] = np.arange(self.count)

    @property
    def has_crops(self) -> bool:
        """Whether the groups hold images, not a backbone's features."""
        return self._kept[0].has_crops

    def __len__(self) -> int:
        return 1 << 40  # as `GroupDataset`: any step has its groups

    def __getitem__(self, index: int) -> Group:
        turn, place = divmod(index, self.count)
        if turn != self._round:
            self._round = turn
            self._order = np.random.default_rng([self._seed, turn]).permutation(self.count)
        number = int(self._order[place])
        folder = int(np.searchsorted(self._ends, number, 'right'))
        first = int(self._ends[folder - 1]) if folder else 0
        return self._kept[folder][number - first]
