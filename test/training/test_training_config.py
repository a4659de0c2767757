# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('torch', reason='needs PyTorch')

from hcat_ros.network import HCATConfig
from hcat_ros.training.config import (
    DataConfig,
    DistillationConfig,
    ScheduleConfig,
    TrainConfig,
    load_config,
)
from hcat_ros.training.groups import Chances
from hcat_ros.training.teachers import TeacherConfig
from hcat_ros.training.views import Geometry, Jitter

DATA = [{'share': 1, 'root': 'x'}]
LEAST: dict[str, Any] = {'data': DATA, 'schedule': {'steps': 5}}


def written(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def load(folder: Path, content: Any, **overrides: Any) -> TrainConfig:
    return load_config(written(folder / 'run.yaml', content), **overrides)


@pytest.mark.parametrize(
    'name', ['base_cpu', 'lite0_cpu', 'nano_cpu', 'nano_extra_lessons', 'resnet18_smoke', 'paper']
)
def test_the_run_files_of_the_package_load(checkout: Path, name: str) -> None:
    config = load_config(checkout / 'config' / 'train' / f'{name}.yaml')
    data = (checkout / 'data').resolve()  # may be a link
    for row in config.data:
        places = [row.root, row.names_file, row.cutouts, row.backgrounds]
        assert all(Path(place).is_relative_to(data) for place in places if place)
    for place in (config.start, config.backbone, config.distractors):
        assert not place or Path(place).is_relative_to(data)
    assert sum(row.share for row in config.data) > 0


def test_the_papers_run_file_has_the_settings_of_the_paper(checkout: Path) -> None:
    config = load_config(checkout / 'config' / 'train' / 'paper.yaml')
    schedule = config.schedule
    assert config.network == HCATConfig()
    assert [row.layout for row in config.data] == ['lasot', 'got10k', 'trackingnet', 'coco']
    assert {(row.share, row.max_gap) for row in config.data} == {(1, 100)}
    assert 8 * schedule.batch == 128
    assert schedule.groups == schedule.batch
    assert schedule.views == 1
    assert schedule.steps * 128 == 500 * 60_000
    assert (schedule.decay, schedule.decay_at * 500) == ('step', 400)
    assert schedule.learning_rate == 1e-4
    assert schedule.learning_rate * schedule.backbone_rate == pytest.approx(1e-5)
    assert (schedule.weight_decay, schedule.iou_aware) == (1e-4, False)
    assert config.geometry.search == Jitter(far=1.5, far_scale=0.25, far_share=1)
    assert config.geometry == Geometry(Jitter(), config.geometry.search, warp=0, mirror=0)
    rest = {name: 0 for name in vars(config.chances) if name != 'twin'}
    assert config.chances == Chances(**{**rest, 'grey': 0.05, 'brightness': 0.2})


def test_a_minimal_run_file_has_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST)
    assert config.network == HCATConfig()
    assert config.schedule == ScheduleConfig(5)
    assert (config.chances, config.geometry) == (Chances(), Geometry())
    assert config.data == (DataConfig(1, root=str(tmp_path / 'x')),)
    assert (config.teachers, config.distillation) == ((), DistillationConfig(0.5, 0.5))
    assert (config.lessons, config.lesson_groups) == ((), 0)
    names = ('network', 'chances', 'geometry', 'teachers', 'distillation', 'lessons')
    assert load(tmp_path, {**dict.fromkeys(names), **LEAST}) == config


def test_paths_are_relative_to_the_run_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', '/home/someone')
    content = {
        **LEAST,
        'data': [
            {'share': 1, 'root': '../a', 'names_file': 'list.txt'},
            {'share': 1, 'root': '/b'},
            {'share': 2, 'kind': 'photos', 'root': '~/c'},
            {'share': 2, 'kind': 'paste', 'cutouts': 'd', 'backgrounds': 'e'},
        ],
        'start': 's.safetensors',
        'distractors': 'f',
        'teachers': [
            {'backbone': '../v2/body.onnx', 'head': 'head.onnx'},
            {'backbone': '/b.onnx', 'head': '~/h.onnx', 'kind': 'lightfc', 'boxes': False},
        ],
        'distillation': {'scores': 1, 'boxes': 1e-1},
        'lessons': ['../l', '/m'],
        'surroundings': 'g',
    }
    (tmp_path / 'sub').mkdir()
    config = load(tmp_path / 'sub', content)
    here = tmp_path / 'sub'
    roots = [str(tmp_path / 'a'), '/b', '/home/someone/c', '']
    assert [row.root for row in config.data] == roots
    assert config.data[0].names_file == str(here / 'list.txt')
    assert config.data[3].cutouts == str(here / 'd')
    assert config.data[3].backgrounds == str(here / 'e')
    assert config.start == str(here / 's.safetensors')
    assert config.distractors == str(here / 'f')
    assert config.backbone == ''
    assert config.teachers == (
        TeacherConfig(str(tmp_path / 'v2' / 'body.onnx'), str(here / 'head.onnx')),
        TeacherConfig('/b.onnx', '/home/someone/h.onnx', 'lightfc', boxes=False),
    )
    assert config.distillation == DistillationConfig(scores=1.0, boxes=0.1)
    assert config.lessons == (str(tmp_path / 'l'), '/m')
    assert config.surroundings == str(here / 'g')


def test_a_single_folder_of_lessons_may_be_given_without_a_list(tmp_path: Path) -> None:
    config = load(tmp_path, {**LEAST, 'lessons': 'views', 'lesson_groups': 64})
    assert (config.lessons, config.lesson_groups) == ((str(tmp_path / 'views'),), 64)


def test_numbers_may_be_written_in_forms_that_yaml_reads_as_text(tmp_path: Path) -> None:
    content = 'data: [{share: 1, root: x}]\nschedule: {steps: 5, learning_rate: 1e-4, ema: 0}'
    schedule = load(tmp_path, content).schedule
    assert schedule.learning_rate == 1e-4
    assert schedule.ema == 0


def test_overrides_replace_fields_of_the_schedule(tmp_path: Path) -> None:
    config = load(tmp_path, LEAST, steps=7, seed=3)
    assert config.schedule == dataclasses.replace(ScheduleConfig(7), seed=3)
    assert load(tmp_path, {'data': DATA}, steps=2).schedule.steps == 2


BAD: list[tuple[Any, str]] = [
    ('a: [', 'while parsing'),
    ('', 'expected a mapping'),
    ('[1]', 'expected a mapping'),
    ({'schedule': {'steps': 5}}, 'data: expected a list'),
    ({'schedule': {'steps': 5}, 'data': []}, 'data: expected a list'),
    ({'schedule': {'steps': 5}, 'data': {'share': 1}}, 'data: expected a list'),
    ({**LEAST, 'colour': 1}, "unknown field 'colour'"),
    ({**LEAST, 'start': 3}, 'start 3: expected a text'),
    ({**LEAST, 'network': {'widht': 3}}, "network: unknown field 'widht'"),
    ({**LEAST, 'network': {'channels': 33}}, 'network: channels 33'),
    ({**LEAST, 'network': [1]}, r'network: expected fields and their values, got \[1\]'),
    ({**LEAST, 'chances': {'gray': 0.5}}, "chances: unknown field 'gray'"),
    ({**LEAST, 'chances': {'grey': 5}}, r'chances: grey 5\.0: expected 0 to 1'),
    ({**LEAST, 'geometry': {'warp': -1}}, 'geometry: warp -1'),
    ({**LEAST, 'geometry': {'search': {'wide': 1}}}, "geometry: search: unknown field 'wide'"),
    ({**LEAST, 'geometry': 3}, 'geometry: expected fields'),
    ({**LEAST, 'teachers': {'backbone': 'x', 'head': 'y'}}, 'teachers: expected a list'),
    ({**LEAST, 'teachers': ['x']}, 'teachers: 1: expected fields'),
    ({**LEAST, 'teachers': [{'backbone': 'x'}]}, "teachers: 1: .*'head'"),
    ({**LEAST, 'teachers': [{'backbone': 'x', 'head': 3}]}, 'teachers: 1: head 3: expected a text'),
    ({**LEAST, 'distillation': {'score': 1}}, "distillation: unknown field 'score'"),
    ({**LEAST, 'distillation': {'scores': 1.5}}, r'distillation: scores 1\.5: expected 0 to 1'),
    ({**LEAST, 'distillation': {'boxes': -1}}, r'distillation: boxes -1\.0: expected 0 to 1'),
    ({**LEAST, 'distillation': {'features': 4}}, "distillation: unknown field 'features'"),
    ({**LEAST, 'teachers': [{'backbone': 'x', 'head': 'y', 'kind': 'z'}]}, "1: kind 'z': expected"),
    ({**LEAST, 'lessons': {'a': 1}}, r'lessons .*: expected a list of folders'),
    ({**LEAST, 'lessons': [3]}, r'lessons \[3\]: expected a list of folders'),
    ({**LEAST, 'lesson_groups': 'many'}, "lesson_groups 'many': expected a whole number"),
    ({'data': DATA}, "schedule: .*'steps'"),
    ({'data': DATA, 'schedule': 3}, 'schedule: expected fields'),
    *(
        ({'data': DATA, 'schedule': {'steps': 5, **fields}}, f'schedule: {reason}')
        for fields, reason in [
            ({'stepz': 1}, "unknown field 'stepz'; there are steps, batch"),
            ({'steps': 0}, 'steps 0: expected 1 or more'),
            ({'steps': 2.5}, r'steps 2\.5: expected a whole number'),
            ({'steps': True}, 'steps True: expected a whole number'),
            ({'learning_rate': 'fast'}, "learning_rate 'fast': expected a number"),
            ({'learning_rate': float('nan')}, 'learning_rate nan: expected 0 or more'),
            ({'iou_aware': 1}, 'iou_aware 1: expected true or false'),
            ({'precision': 'fp8'}, 'precision fp8: expected fp32 or bf16 or fp16'),
            ({'decay': 'linear'}, 'decay linear: expected cosine or step'),
            ({'ema': 1}, 'ema 1'),
            ({'negatives': 1.1}, r'negatives 1\.1: expected 0 to 1'),
            ({'trained_blocks': -2}, 'trained_blocks -2: expected -1 or more'),
            ({'workers': -1}, 'workers -1'),
            ({'batch': 121}, 'batch 121: expected at most 120, the pairs of all groups'),
            ({'batch': 5, 'views': 1}, 'batch 5: expected at most 4, the pairs of all groups'),
        ]
    ),
    *(
        ({**LEAST, 'data': [DATA[0], row]}, f'data: 2: {reason}')
        for row, reason in [
            (3, 'expected fields'),
            ({'root': 'x'}, ".*'share'"),
            ({'share': -1, 'root': 'x'}, 'share -1'),
            ({'share': 1, 'root': 'x', 'names': 'davis_*'}, "names 'davis_.': expected a list"),
            ({'share': 1, 'kind': 'films', 'root': 'x'}, "kind 'films': expected clips, photos"),
            ({'share': 1}, 'kind clips needs root'),
            ({'share': 1, 'kind': 'photos'}, 'kind photos needs root'),
            ({'share': 1, 'kind': 'paste', 'cutouts': 'x'}, 'kind paste needs backgrounds'),
        ]
    ),
]


@pytest.mark.parametrize(('content', 'reason'), BAD)
def test_an_invalid_field_is_named_with_its_file(tmp_path: Path, content: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        load(tmp_path, content)
    assert str(error.value).startswith(str(tmp_path / 'run.yaml'))


def test_a_missing_run_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'none\.yaml'):
        load_config(tmp_path / 'none.yaml')
