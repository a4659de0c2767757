# SPDX-License-Identifier: Apache-2.0
"""Groups of views on disk, so that views are drawn and teachers are run only once.

A *group* is several views (template and search crops) of one object; its *lesson* is the teachers'
answers for these views. `packed_views` stores the crops, `cached_features` a frozen backbone's
features of the crops; `hcat lessons` writes both and `hcat train` reads them. A folder stores its
groups in *parts*, files of `PART_GROUPS` groups, and a file with their *origin*, so that groups of
different origins are never mixed.
"""

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
"""Number of groups in a part; an interrupted writer starts its current part again."""

Origin = dict[str, Any]
"""Everything that determines the content of a folder: data, seed, sizes, teachers, backbone."""


def views_origin(config: TrainConfig, groups: int) -> Origin:
    """Return the origin of `groups` groups of views and their lessons.

    The origin is the run's data, augmentations, seed and sizes, and the teachers' files. Raises
    OSError for a teacher's file that cannot be read.
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
    return dict(json.loads(json.dumps(origin)))  # tuples become lists, as in a file


def features_origin(of_views: Origin, model: HCAT) -> Origin:
    """Return the origin of the features that `model`'s backbone computes from stored views."""
    network, digest = model.config, hashlib.sha256()
    for name, value in sorted(model.backbone.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    channels = int(model.backbone.channels)
    return {
        **of_views,
        'template': [channels, network.template_grid, network.template_grid],
        'search': [channels, network.search_grid, network.search_grid],
        'stride': network.stride,
        'backbone': f'{network.backbone} {digest.hexdigest()}',
    }


def read_origin(folder: Path) -> Origin:
    """Return the origin stored in a folder. Raises ValueError if there is none."""
    path = folder / ORIGIN_FILE
    try:
        origin = load_json(path)
        return {**origin, 'groups': int(origin['groups']), 'views': int(origin['views'])}
    except FileNotFoundError:
        raise ValueError(f'{folder} holds no groups: make them with hcat lessons') from None
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{path} is damaged ({error!r}); delete its folder') from error


def check_origin(folder: Path, wanted: Origin, note: str = ORIGIN_FILE) -> bool:
    """Return whether a folder stores this origin, False if it holds neither origin nor groups.

    note: name of the origin's file. Raises ValueError for another origin, naming the fields that
    differ, and for groups without an origin.
    """
    path = folder / note
    if not path.is_file():
        if any(folder.glob('part-*.npy')):
            raise ValueError(f'{folder} holds groups, but no {note} with their origin; delete it')
        return False
    try:
        found = load_json(path)
        differing = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f'{path} is damaged ({error}); delete its folder') from error
    if differing:
        name = differing[0]
        raise ValueError(
            f'{folder} was made with another {", ".join(differing)} '
            f'({name}: {found.get(name)!r}, now {wanted.get(name)!r}); take another folder or '
            'delete this one'
        )
    return True


def claim(folder: Path, origin: Origin, note: str = ORIGIN_FILE) -> None:
    """Create a folder for groups and store their origin. Raises ValueError like `check_origin`."""
    text = json.dumps(origin, indent=2)
    if not check_origin(folder, json.loads(text), note):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / note, text)


def missing_parts(folder: Path, origin: Origin) -> list[int]:
    """Return the numbers of the missing parts. Raises ValueError like `check_origin`."""
    check_origin(folder, origin)
    return [part for part in range(part_count(origin)) if not part_file(folder, part).is_file()]


def part_count(origin: Origin) -> int:
    """Return the number of parts of a complete folder."""
    return -(-int(origin['groups']) // PART_GROUPS)


def part_file(folder: Path, part: int) -> Path:
    """Return the path of a part, whose first group is `part` x `PART_GROUPS`."""
    return folder / f'part-{part:04d}.npy'


def part_groups(origin: Origin, part: int) -> range:
    """Return the numbers of the groups in a part."""
    first = part * PART_GROUPS
    return range(first, min(first + PART_GROUPS, origin['groups']))


def write_rows(path: Path, rows: NDArray[Any]) -> None:
    """Write a part atomically, so that a reader never sees an incomplete one."""
    with whole_file(path) as partial, partial.open('wb') as file:
        np.save(file, rows)


def truth_fields(origin: Origin) -> list[Any]:
    """Return the fields of a numpy dtype for the truth and the lesson of a group."""
    views = origin['views']
    fields: list[Any] = [('boxes', '<f4', (views, 4)), ('shown', '?', (views,))]
    if origin['teachers']:
        fields += [
            ('taught_scores', '<f2', (views, views, GRID * GRID)),
            ('taught_boxes', '<f4', (views, views, 4)),
        ]
    return fields


def keep_truth(row: Any, group: Group) -> None:
    """Copy the truth and the lesson of a group into its row."""
    row['boxes'], row['shown'] = group.boxes.numpy(), group.shown.numpy()
    if group.lesson is not None:
        row['taught_scores'] = group.lesson.scores.numpy()
        row['taught_boxes'] = group.lesson.boxes.numpy()


class KeptGroups(ABC):
    """Groups read from a folder, which is never changed."""

    def __init__(self, folder: Path, origin: Origin) -> None:
        """Raise ValueError for a folder of another origin, or with parts missing or damaged."""
        if missing := missing_parts(folder, origin):
            raise ValueError(
                f'{folder} lacks {len(missing)} files: make them with hcat lessons first'
            )
        self.folder, self.origin = folder, origin
        self.parts = part_count(origin)
        """Number of parts."""
        for part in range(self.parts):
            path = part_file(folder, part)
            try:
                rows = self.rows(part)
            except (ValueError, EOFError) as error:
                raise ValueError(f'{path} is damaged ({error}); delete it') from error
            count, kind = len(part_groups(origin, part)), np.dtype(self.fields(origin))
            if rows.dtype != kind or len(rows) != count:
                raise ValueError(
                    f'{path} has {len(rows)} rows of {rows.dtype}, expected {count} of {kind}; '
                    'delete it'
                )

    def rows(self, part: int) -> NDArray[Any]:
        """Return the rows of a part, memory-mapped.

        Each call opens the file again, because a process may keep only few files open, often 1024.
        """
        return np.load(part_file(self.folder, part), mmap_mode='r')

    has_crops: bool
    """Whether the groups hold images, not a backbone's features."""

    @staticmethod
    @abstractmethod
    def fields(origin: Origin) -> list[Any]:
        """Return the fields of a numpy dtype for a group."""

    @abstractmethod
    def inputs(self, part: int, row: Any) -> Sequence[NDArray[Any]]:
        """Return copies of the templates and search regions in a part's row, crops or features."""

    def __len__(self) -> int:
        return int(self.origin['groups'])

    def __getitem__(self, index: int) -> Group:
        part, place = divmod(index, PART_GROUPS)
        row = self.rows(part)[place]
        templates, searches = self.inputs(part, row)
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


class ShuffledEpochs(Dataset[Group]):
    """Endless passes over stored groups, each in its own random order, given by the seed."""

    def __init__(self, kept: Sequence[KeptGroups], seed: int = 0, limit: int | None = None) -> None:
        """limit: number of groups to use, the first ones; None: all.

        Raises ValueError if there are fewer groups, or if folders differ in the number of views.
        """
        self._kept, self._seed = list(kept), seed
        if len(views := {groups.origin['views'] for groups in kept}) > 1:
            counts = ', '.join(map(str, sorted(views)))
            raise ValueError(f'groups of {counts} views: expected the same number in each folder')
        self._ends = np.cumsum([len(groups) for groups in kept])
        self.count = int(self._ends[-1]) if limit is None else limit
        """Number of groups in a pass."""
        if not 0 < self.count <= self._ends[-1]:
            raise ValueError(f'{self.count} groups: there are {self._ends[-1]}')
        self._epoch = -1
        self._order: NDArray[np.intp] = np.arange(self.count)

    @property
    def has_crops(self) -> bool:
        """Whether the groups hold images, not a backbone's features."""
        return self._kept[0].has_crops

    def __len__(self) -> int:
        return 1 << 40  # endless, like `GroupDataset`

    def __getitem__(self, index: int) -> Group:
        epoch, place = divmod(index, self.count)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self._seed, epoch]).permutation(self.count)
        chosen = int(self._order[place])
        folder = int(np.searchsorted(self._ends, chosen, 'right'))
        first = int(self._ends[folder - 1]) if folder else 0
        return self._kept[folder][chosen - first]
