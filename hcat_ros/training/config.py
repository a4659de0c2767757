# SPDX-License-Identifier: Apache-2.0
"""The file that describes a training run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hcat_ros.network.config import HCATConfig
from hcat_ros.training.groups import Chances
from hcat_ros.training.run_files import read_run
from hcat_ros.training.teachers import TeacherConfig
from hcat_ros.training.views import Geometry, Jitter

KINDS = {'clips': ('root',), 'photos': ('root',), 'paste': ('cutouts', 'backgrounds')}
"""Kinds of sources and the folders that they need."""


@dataclass(frozen=True)
class DataConfig:
    """One source of objects."""

    share: float
    """How often it is drawn from, relative to the others."""
    kind: str = 'clips'
    """clips (boxes of a data set), photos (random regions) or paste (cut-outs on photos)."""
    layout: str = 'plain'
    """Layout of clips, a key of `clips.LAYOUTS`."""
    root: str = ''
    """Folder, of clips and photos."""
    names: tuple[str, ...] = ()
    """Patterns of the names of the clips to take, as davis_*; empty: all."""
    names_file: str = ''
    """File of such patterns, one a line, as LaSOT's training_set.txt."""
    cutouts: str = ''
    """Folder of images with alpha, of paste."""
    backgrounds: str = ''
    """Folder of photographs, of paste."""
    max_gap: int = 100
    """Frames between the sightings of one object."""

    def __post_init__(self) -> None:
        _check(self, share=(0, None), max_gap=(0, None))
        if self.kind not in KINDS:
            raise ValueError(f"kind '{self.kind}': expected {', '.join(KINDS)}")
        for name in KINDS[self.kind]:
            if not getattr(self, name):
                raise ValueError(f'{self.kind} need {name}, a folder')


@dataclass(frozen=True)
class ScheduleConfig:
    """How long, how fast, and what is trained."""

    steps: int
    batch: int = 32
    """Pairs a step and process."""
    groups: int = 4
    """Objects a step and process."""
    views: int = 6
    """Views of an object; 1: a template of one sighting and a search region of another."""
    learning_rate: float = 5e-4
    backbone_rate: float = 0.2
    """Factor on the learning rate of the backbone."""
    trained_blocks: int = 0
    """How many of the backbone's last blocks are trained; -1: all of it."""
    frozen_batchnorm: bool = True
    """The backbone's BatchNorms keep their ImageNet statistics and weights; false: those of the
    trained blocks are trained, which takes batches of some size."""
    weight_decay: float = 1e-4
    clip: float = 1.0
    """Largest norm of the gradient; 0: any."""
    warm_up: int = 200
    """Steps over which the rate rises from 0."""
    decay: str = 'cosine'
    """cosine (to `final`) or step (x 0.1 at `decay_at`)."""
    decay_at: float = 0.8
    """Share of the steps after which the step decay comes."""
    final: float = 0.05
    """End of the cosine, as a share of the rate."""
    ema: float = 0.998
    """Decay of the average of the weights that is kept; 0: none."""
    negatives: float = 0.08
    """Share of the pairs with another object's template."""
    iou_aware: bool = True
    """Positives are asked for their own IoU as their score."""
    precision: str = 'bf16'
    """Autocast: fp32, bf16 or fp16."""
    seed: int = 0
    workers: int = 1
    """Processes that make views; 0: the training process itself."""
    cache_gib: float = 3.0
    """Decoded images that each of them keeps, GiB."""
    threads: int = 1
    """Threads of PyTorch on a CPU."""

    def __post_init__(self) -> None:
        above_0 = dict.fromkeys(('steps', 'batch', 'groups', 'views', 'threads'), (1, None))
        shares = dict.fromkeys(('decay_at', 'final', 'negatives'), (0, 1))
        from_0 = ('learning_rate', 'backbone_rate', 'weight_decay', 'clip', 'warm_up', 'seed')
        rest = dict.fromkeys((*from_0, 'workers', 'cache_gib'), (0, None))
        _check(self, trained_blocks=(-1, None), ema=(0, 0.999999), **above_0, **shares, **rest)
        for name, known in (('decay', ('cosine', 'step')), ('precision', ('fp32', 'bf16', 'fp16'))):
            if getattr(self, name) not in known:
                raise ValueError(f'{name} {getattr(self, name)}: expected {" or ".join(known)}')
        pairs = self.groups * self.views * max(1, self.views - 1)
        if self.batch > pairs:
            raise ValueError(f'batch {self.batch}: groups and views make only {pairs} pairs')


@dataclass(frozen=True)
class DistillationConfig:
    """How much is learned from the teachers."""

    scores: float = 0.5
    """Share of their scores in what is asked of the score head, where their best cell is right."""
    boxes: float = 0.5
    """Share of their box in what is asked of the box head, where their box is right."""

    def __post_init__(self) -> None:
        _check(self, scores=(0, 1), boxes=(0, 1))


@dataclass(frozen=True)
class TrainConfig:
    """A training run."""

    network: HCATConfig
    data: tuple[DataConfig, ...]
    schedule: ScheduleConfig
    chances: Chances = field(default_factory=Chances)
    geometry: Geometry = field(default_factory=Geometry)
    start: str = ''
    """Weights to start from: a checkpoint of this package."""
    backbone: str = ''
    """ImageNet weights of the backbone to start from."""
    teachers: tuple[TeacherConfig, ...] = ()
    """Trackers to learn from beside the truth."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    lessons: tuple[str, ...] = ()
    """Folders of `hcat lessons` to train from: views and what the teachers say of them. Empty:
    everything is made anew. `hcat lessons` fills the first one from the run's data."""
    lesson_groups: int = 0
    """Groups of views that `hcat lessons` makes."""
    surroundings: str = ''
    """Folder of photographs to see around the image in search regions."""
    distractors: str = ''
    """Folder of cut-outs to paste beside the target."""


def _check(config: object, **limits: tuple[float, float | None]) -> None:
    """Raise ValueError for a field outside of its limits; None: no upper one."""
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        if not value >= low or (high is not None and value > high):
            limit = f'{low} to {high}' if high is not None else f'{low} or more'
            raise ValueError(f'{name} {value}: expected {limit}')


T = TypeVar('T')


def load_config(path: Path, **overrides: Any) -> TrainConfig:
    """Read a run's file. overrides: fields of the schedule.

    Paths in it are taken from the file's own folder; `read_run` tells of `extends`. Raises
    FileNotFoundError; ValueError naming file and field.
    """
    content = read_run(path)

    def build(kind: type[T], value: Any, *names: str) -> T:
        try:
            return kind(**_fields(kind, {} if value is None else value))
        except (TypeError, ValueError) as error:
            raise ValueError(f'{": ".join((str(path), *names))}: {error}') from error

    def each(kind: type[T], name: str) -> tuple[T, ...]:
        rows = content.get(name)
        rows = [] if rows is None else rows
        if not isinstance(rows, list):
            raise ValueError(f'{path}: {name}: expected a list')
        return tuple(build(kind, row, name, str(number)) for number, row in enumerate(rows, 1))

    if not content.get('data'):
        raise ValueError(f'{path}: data: expected a list of one source or more')
    schedule = content.get('schedule') or {}
    geometry = content.get('geometry')
    if isinstance(geometry, dict):
        jitters = {name: geometry[name] for name in ('template', 'search') if name in geometry}
        made_jitters = {n: build(Jitter, v, 'geometry', n) for n, v in jitters.items()}
        geometry = {**geometry, **made_jitters}
    run = {
        **content,
        'network': build(HCATConfig, content.get('network'), 'network'),
        'data': each(DataConfig, 'data'),
        'teachers': each(TeacherConfig, 'teachers'),
        'distillation': build(DistillationConfig, content.get('distillation'), 'distillation'),
        'lessons': tuple(_texts(f'{path}: lessons', content.get('lessons'))),
        'schedule': build(
            ScheduleConfig,
            {**schedule, **overrides} if isinstance(schedule, dict) else schedule,
            'schedule',
        ),
        'chances': build(Chances, content.get('chances'), 'chances'),
        'geometry': build(Geometry, geometry, 'geometry'),
    }
    return build(TrainConfig, run)


def _fields(kind: type[Any], values: Any) -> dict[str, Any]:
    """Return the values of a dataclass's fields. Raises ValueError for what does not fit."""
    if not isinstance(values, dict):
        raise ValueError(f'expected fields and their values, got {values!r}')
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    for name in values:
        if name not in types:
            raise ValueError(f"unknown field '{name}'; there are {', '.join(types)}")
    return {name: _value(name, value, str(types[name])) for name, value in values.items()}


def _texts(name: str, value: Any) -> list[str]:
    """Return a list of texts, or one text as a list. Raises ValueError for anything else."""
    rows = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        raise ValueError(f'{name} {value!r}: expected a list of folders')
    return rows


def _value(name: str, value: Any, kind: str) -> Any:
    if kind == 'float':
        try:
            return float(value)  # YAML takes 1e-4, without a point, for a text
        except (TypeError, ValueError):
            raise ValueError(f'{name} {value!r}: expected a number') from None
    if kind == 'tuple[str, ...]' and isinstance(value, list):
        return tuple(str(item) for item in value)
    expected = {'int': int, 'bool': bool, 'str': str, 'tuple[str, ...]': tuple}.get(kind)
    if expected is not None and type(value) is not expected:
        word = {int: 'a whole number', bool: 'true or false', str: 'a text'}.get(expected, 'a list')
        raise ValueError(f'{name} {value!r}: expected {word}')
    return value
