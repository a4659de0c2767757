# SPDX-License-Identifier: Apache-2.0
"""The configuration of a training run, and how its file is read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hcat_ros.engines import MOST_THREADS
from hcat_ros.evaluation.workers import MOST_JOBS
from hcat_ros.network.config import HCATConfig
from hcat_ros.training.groups import Chances
from hcat_ros.training.run_files import read_run
from hcat_ros.training.teachers import TeacherConfig
from hcat_ros.training.views import Geometry, Jitter

KINDS = {'clips': ('root',), 'photos': ('root',), 'paste': ('cutouts', 'backgrounds')}
"""Kinds of sources and the folder fields that each needs."""


@dataclass(frozen=True)
class DataConfig:
    """One source of objects in the training data."""

    share: float
    """How often this source is drawn from, relative to the others."""
    kind: str = 'clips'
    """Kind: clips (boxes of a data set), photos (random regions) or paste (cut-outs on photos)."""
    layout: str = 'plain'
    """Layout of the clips, a key of `clips.LAYOUTS`."""
    root: str = ''
    """Folder of the clips or photos."""
    names: tuple[str, ...] = ()
    """Patterns that select clips by name, such as davis_*; empty: all clips."""
    names_file: str = ''
    """File of further patterns, one per line, such as LaSOT's training_set.txt."""
    cutouts: str = ''
    """Folder of cut-outs (images with alpha), for paste."""
    backgrounds: str = ''
    """Folder of photographs to paste cut-outs on, for paste."""
    max_gap: int = 100
    """Largest distance between the sightings of one object, frames."""

    def __post_init__(self) -> None:
        _check(self, share=(0, None), max_gap=(0, None))
        if self.kind not in KINDS:
            raise ValueError(f"kind '{self.kind}': expected {', '.join(KINDS)}")
        for name in KINDS[self.kind]:
            if not getattr(self, name):
                raise ValueError(f'kind {self.kind} needs {name}, a folder')


@dataclass(frozen=True)
class ScheduleConfig:
    """The optimiser's schedule, the composition of batches, and which blocks are trained."""

    steps: int
    batch: int = 32
    """Number of pairs per step and process."""
    groups: int = 4
    """Number of objects per step and process."""
    views: int = 6
    """Number of views of an object. 1: a template of one sighting, a search region of another."""
    learning_rate: float = 5e-4
    backbone_rate: float = 0.2
    """Learning rate of the backbone, as a factor on `learning_rate`."""
    trained_blocks: int = 0
    """Number of the backbone's last blocks that are trained; -1: the whole backbone."""
    frozen_batchnorm: bool = True
    """Whether the backbone's BatchNorms keep their pretrained statistics and weights. false: those
    in trained blocks are trained, which needs batches that are not too small."""
    weight_decay: float = 1e-4
    clip: float = 1.0
    """Largest norm of the gradient; 0: no limit."""
    warm_up: int = 200
    """Number of steps over which the learning rate rises from 0."""
    decay: str = 'cosine'
    """Decay of the learning rate: cosine (down to `final`) or step (x 0.1 at `decay_at`)."""
    decay_at: float = 0.8
    """Time of the step decay, as a share of the steps."""
    final: float = 0.05
    """Learning rate at the end of the cosine, as a share of `learning_rate`."""
    ema: float = 0.998
    """Decay of the moving average of the weights; 0: no average."""
    negatives: float = 0.08
    """Share of the pairs whose template shows another object."""
    iou_aware: bool = True
    """Whether the goal of a positive cell's score is the IoU of its box instead of 1."""
    precision: str = 'bf16'
    """Precision of autocast: fp32, bf16 or fp16."""
    seed: int = 0
    workers: int = 1
    """Number of processes that create views; 0: the training process creates them."""
    cache_gib: float = 3.0
    """Size of each such process's cache of decoded images, GiB."""
    threads: int = 1
    """Number of PyTorch's CPU threads."""

    def __post_init__(self) -> None:
        above_0 = dict.fromkeys(('steps', 'batch', 'groups', 'views'), (1, None))
        shares = dict.fromkeys(('decay_at', 'final', 'negatives'), (0, 1))
        from_0 = ('learning_rate', 'backbone_rate', 'weight_decay', 'clip', 'warm_up', 'seed')
        rest = dict.fromkeys((*from_0, 'cache_gib'), (0, None))
        _check(self, threads=(1, MOST_THREADS), workers=(0, MOST_JOBS))
        _check(self, trained_blocks=(-1, None), ema=(0, 0.999999), **above_0, **shares, **rest)
        for name, known in (('decay', ('cosine', 'step')), ('precision', ('fp32', 'bf16', 'fp16'))):
            if getattr(self, name) not in known:
                raise ValueError(f'{name} {getattr(self, name)}: expected {" or ".join(known)}')
        pairs = self.groups * self.views * max(1, self.views - 1)
        if self.batch > pairs:
            raise ValueError(
                f'batch {self.batch}: expected at most {pairs}, the pairs of all groups and views'
            )


@dataclass(frozen=True)
class DistillationConfig:
    """Weights of the teachers' answers in the goals of training.

    They apply to pairs in which the teachers' box is right (`losses.teachers_are_right`).
    """

    scores: float = 0.5
    """Share of the teachers' scores in the goal of the score head."""
    boxes: float = 0.5
    """Share of the teachers' box in the goal of the box head."""

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
    """Checkpoint of this package to start from; empty: random weights."""
    backbone: str = ''
    """File of pretrained weights for the backbone; empty: random weights."""
    teachers: tuple[TeacherConfig, ...] = ()
    """Trackers to learn from in addition to the true boxes."""
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    lessons: tuple[str, ...] = ()
    """Folders of views and the teachers' answers to train from, written by `hcat lessons`, which
    fills the first folder from the run's data. Empty: views are created during training."""
    lesson_groups: int = 0
    """Number of groups of views that `hcat lessons` creates."""
    surroundings: str = ''
    """Folder of photographs to show around the frame in search regions."""
    distractors: str = ''
    """Folder of cut-outs to paste beside the target."""


def _check(config: object, **limits: tuple[float, float | None]) -> None:
    """Raise ValueError for a field outside its limits; None: no upper limit."""
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        if not value >= low or (high is not None and value > high):
            limit = f'{low} to {high}' if high is not None else f'{low} or more'
            raise ValueError(f'{name} {value}: expected {limit}')


T = TypeVar('T')


def load_config(path: Path, **overrides: Any) -> TrainConfig:
    """Read a run file. overrides: fields of the schedule.

    Paths in the file are relative to the file's folder; `read_run` explains `extends`. Raises
    FileNotFoundError; ValueError that names the file and the field.
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
        built_jitters = {n: build(Jitter, v, 'geometry', n) for n, v in jitters.items()}
        geometry = {**geometry, **built_jitters}
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
    """Return the values for a dataclass's fields. Raises ValueError for a wrong name or type."""
    if not isinstance(values, dict):
        raise ValueError(f'expected fields and their values, got {values!r}')
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    for name in values:
        if name not in types:
            raise ValueError(f"unknown field '{name}'; there are {', '.join(types)}")
    return {name: _value(name, value, str(types[name])) for name, value in values.items()}


def _texts(name: str, value: Any) -> list[str]:
    """Return a list of strings, or one string as a list. Raises ValueError for anything else."""
    rows = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        raise ValueError(f'{name} {value!r}: expected a list of folders')
    return rows


def _value(name: str, value: Any, kind: str) -> Any:
    if kind == 'float':
        try:
            return float(value)  # YAML reads 1e-4, without a point, as a string
        except (TypeError, ValueError):
            raise ValueError(f'{name} {value!r}: expected a number') from None
    if kind == 'tuple[str, ...]' and isinstance(value, list):
        return tuple(str(item) for item in value)
    expected = {'int': int, 'bool': bool, 'str': str, 'tuple[str, ...]': tuple}.get(kind)
    if expected is not None and type(value) is not expected:
        word = {int: 'a whole number', bool: 'true or false', str: 'a text'}.get(expected, 'a list')
        raise ValueError(f'{name} {value!r}: expected {word}')
    return value
