# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from hcat_ros.evaluation.clips import DataSetError
from hcat_ros.network import save_checkpoint
from hcat_ros.training.build import DISTRACTOR_SIDE, build_data, build_network
from hcat_ros.training.config import DataConfig, TrainConfig
from hcat_ros.training.sources import ClipSource, PasteSource, PhotoSource
from hcat_ros.training.teachers import TeacherConfig

Write = Callable[..., Path]


def with_data(config: TrainConfig, *rows: DataConfig, **fields: Any) -> TrainConfig:
    return dataclasses.replace(config, data=rows, **fields)


def clip_names(source: Any) -> list[str]:
    assert isinstance(source, ClipSource)
    return [clip.name for clip in source.clips]


def test_each_row_becomes_a_source(tmp_path: Path, config: TrainConfig, write_image: Write) -> None:
    write_image(tmp_path / 'photos/a.png')
    write_image(tmp_path / 'cutouts/a.png', np.full((8, 400, 4), 255, np.uint8))
    write_image(tmp_path / 'cutouts/b.png')  # without alpha: no distractor
    photos, cutouts = str(tmp_path / 'photos'), str(tmp_path / 'cutouts')
    chosen = with_data(
        config,
        DataConfig(0.5, root=config.data[0].root, max_gap=7),
        DataConfig(0.3, 'photos', root=photos),
        DataConfig(0.2, 'paste', cutouts=cutouts, backgrounds=photos),
        distractors=cutouts,
    )
    data = build_data(chosen)
    clips, photo, paste = data.sources
    assert isinstance(clips, ClipSource)
    assert clips.max_gap == 7
    assert isinstance(photo, PhotoSource)
    assert isinstance(paste, PasteSource)
    assert data.shares == [0.5, 0.3, 0.2]
    assert (data.views, data.template_size, data.search_size) == (2, 64, 128)
    assert [cutout.shape for cutout in data.cutouts] == [(3, DISTRACTOR_SIDE, 4)]
    assert data.cache_bytes == 3 << 30
    assert (data.chances, data.geometry) == (config.chances, config.geometry)


@pytest.mark.parametrize(
    ('names', 'listed', 'expected'),
    [
        (('clip_0',), None, ['clip_0']),
        (('*_1', 'other'), None, ['clip_1']),
        ((), 'clip_1\nother\n', ['clip_1']),
        (('clip_0',), 'clip_?\n', ['clip_0', 'clip_1']),
        ((), None, ['clip_0', 'clip_1']),
    ],
)
def test_clips_are_chosen_by_name(
    tmp_path: Path,
    config: TrainConfig,
    names: tuple[str, ...],
    listed: str | None,
    expected: list[str],
) -> None:
    if listed:
        (tmp_path / 'list.txt').write_text(listed)
    file = str(tmp_path / 'list.txt') if listed else ''
    row = dataclasses.replace(config.data[0], names=names, names_file=file)
    assert clip_names(build_data(with_data(config, row)).sources[0]) == expected


def test_no_clip_of_the_names_is_an_error(tmp_path: Path, config: TrainConfig) -> None:
    row = dataclasses.replace(config.data[0], names=('a*', 'b'))
    with pytest.raises(DataSetError, match=r'video: no clip is named as in a\* or b'):
        build_data(with_data(config, row))
    (tmp_path / 'list.txt').write_text('')
    row = dataclasses.replace(config.data[0], names_file=str(tmp_path / 'list.txt'))
    with pytest.raises(DataSetError, match=r'no clip is named as in .*list\.txt'):
        build_data(with_data(config, row))


def test_empty_folders_are_errors_that_name_them(
    tmp_path: Path, config: TrainConfig, write_image: Write
) -> None:
    (tmp_path / 'empty').mkdir()
    empty = str(tmp_path / 'empty')
    with pytest.raises(DataSetError, match=f'no images in {empty}'):
        build_data(with_data(config, DataConfig(1, 'photos', root=empty)))
    write_image(tmp_path / 'grey/a.png')
    with pytest.raises(DataSetError, match='no images with alpha'):
        build_data(dataclasses.replace(config, distractors=str(tmp_path / 'grey')))


def test_the_seed_makes_the_network(config: TrainConfig) -> None:
    def weight(seed: int) -> Any:
        schedule = dataclasses.replace(config.schedule, seed=seed)
        return build_network(dataclasses.replace(config, schedule=schedule)).projection.weight

    torch.manual_seed(99)  # what was drawn before does not matter
    first = weight(0)
    assert torch.equal(first, weight(0))
    assert not torch.equal(first, weight(1))


def test_a_run_starts_from_weights_of_its_own_network(tmp_path: Path, config: TrainConfig) -> None:
    model = build_network(config)
    path = tmp_path / 'start.safetensors'
    save_checkpoint(model, path)
    started = dataclasses.replace(config, start=str(path))
    found = build_network(started)
    assert torch.equal(found.projection.weight, model.projection.weight)
    other = dataclasses.replace(config.network, box_anchor=True)
    with pytest.raises(ValueError, match=r'start\.safetensors has HCATConfig'):
        build_network(dataclasses.replace(started, network=other))


def with_teachers(config: TrainConfig, folder: Path, **fields: int) -> TrainConfig:
    files = [str(folder / f'{name}.onnx') for name in 'abcd']
    for file in files:
        Path(file).touch()
    teachers = (TeacherConfig(*files[:2]), TeacherConfig(*files[2:]))
    network = dataclasses.replace(config.network, **fields)
    return dataclasses.replace(config, network=network, teachers=teachers)


def test_teachers_are_those_of_the_run(tmp_path: Path, config: TrainConfig) -> None:
    taught = with_teachers(config, tmp_path, template_size=128, search_size=256)
    assert tuple(teacher.config for teacher in build_data(taught).teachers) == taught.teachers
    Path(taught.teachers[1].head).unlink()
    with pytest.raises(ValueError, match=rf'teacher: no file {tmp_path}/d\.onnx'):
        build_data(taught)


@pytest.mark.parametrize('sizes', [(128, 256, 8), (64, 128, 8), (64, 256, 16), (128, 320, 16)])
def test_teachers_refuse_networks_that_see_other_crops_and_cells(
    tmp_path: Path, config: TrainConfig, sizes: tuple[int, int, int]
) -> None:
    template, search, stride = sizes
    fields = {'template_size': template, 'search_size': search, 'stride': stride}
    taught = with_teachers(config, tmp_path, **fields)
    with pytest.raises(
        ValueError, match=rf'\(128, 256, 16\), got \({template}, {search}, {stride}'
    ):
        build_data(taught)
    assert build_data(dataclasses.replace(taught, teachers=())).teachers == []
