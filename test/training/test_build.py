# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from hcat_ros.evaluation.clips import DataSetError
from hcat_ros.network import save_checkpoint
from hcat_ros.training.build import DISTRACTOR_SIDE, build_data, build_network, open_lessons
from hcat_ros.training.cached_features import features_folder, write_features
from hcat_ros.training.config import DataConfig, TrainConfig
from hcat_ros.training.kept_groups import ORIGIN_FILE, claim, features_origin, views_origin
from hcat_ros.training.packed_views import PackedGroups, write_views
from hcat_ros.training.sources import ClipSource, PasteSource, PhotoSource
from hcat_ros.training.teachers import LightFC, NanoTrack, TeacherConfig

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
def test_clips_are_selected_by_name(
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


def test_names_that_match_no_clip_are_an_error(tmp_path: Path, config: TrainConfig) -> None:
    row = dataclasses.replace(config.data[0], names=('a*', 'b'))
    with pytest.raises(DataSetError, match=r'video: no clip has a name from a\* or b'):
        build_data(with_data(config, row))
    (tmp_path / 'list.txt').write_text('')
    row = dataclasses.replace(config.data[0], names_file=str(tmp_path / 'list.txt'))
    with pytest.raises(DataSetError, match=r'no clip has a name from .*list\.txt'):
        build_data(with_data(config, row))


def test_empty_folders_are_named_in_the_error(
    tmp_path: Path, config: TrainConfig, write_image: Write
) -> None:
    (tmp_path / 'empty').mkdir()
    empty = str(tmp_path / 'empty')
    with pytest.raises(DataSetError, match=f'no images in {empty}'):
        build_data(with_data(config, DataConfig(1, 'photos', root=empty)))
    write_image(tmp_path / 'grey/a.png')
    with pytest.raises(DataSetError, match='no images with alpha'):
        build_data(dataclasses.replace(config, distractors=str(tmp_path / 'grey')))


def test_the_seed_determines_the_initial_weights(config: TrainConfig) -> None:
    def weight(seed: int) -> Any:
        schedule = dataclasses.replace(config.schedule, seed=seed)
        return build_network(dataclasses.replace(config, schedule=schedule)).projection.weight

    torch.manual_seed(99)  # earlier random numbers do not matter
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
    teachers = (TeacherConfig(*files[:2]), TeacherConfig(*files[2:], kind='lightfc', boxes=False))
    network = dataclasses.replace(config.network, **fields)
    return dataclasses.replace(config, network=network, teachers=teachers)


def test_teachers_are_built_from_the_configuration(tmp_path: Path, config: TrainConfig) -> None:
    taught = with_teachers(config, tmp_path, template_size=128, search_size=256)
    committee = build_data(taught).committee
    assert committee is not None
    assert tuple(teacher.config for teacher in committee.teachers) == taught.teachers
    assert [type(teacher) for teacher in committee.teachers] == [NanoTrack, LightFC]
    Path(taught.teachers[1].head).unlink()
    with pytest.raises(ValueError, match=rf'teacher: there is no file {tmp_path}/d\.onnx'):
        build_data(taught)


@pytest.mark.parametrize('sizes', [(128, 256, 8), (64, 128, 8), (64, 256, 16), (128, 320, 16)])
def test_teachers_refuse_networks_with_other_crop_sizes_or_strides(
    tmp_path: Path, config: TrainConfig, sizes: tuple[int, int, int]
) -> None:
    template, search, stride = sizes
    fields = {'template_size': template, 'search_size': search, 'stride': stride}
    taught = with_teachers(config, tmp_path, **fields)
    with pytest.raises(
        ValueError, match=rf'\(128, 256, 16\), got \({template}, {search}, {stride}'
    ):
        build_data(taught)
    assert build_data(dataclasses.replace(taught, teachers=())).committee is None


def with_lessons(config: TrainConfig, folder: Path) -> TrainConfig:
    """The configuration with two folders of stored views, of 3 and 2 groups."""
    folders = [folder / 'one', folder / 'two']
    for number, path in enumerate(folders):
        origin = views_origin(config, 3 - number)
        write_views(path, origin, dataclasses.replace(build_data(config), seed=number))
    return dataclasses.replace(config, lessons=tuple(map(str, folders)))


def test_lessons_are_crops_if_the_backbone_is_trained(tmp_path: Path, config: TrainConfig) -> None:
    kept = with_lessons(config, tmp_path)
    found = open_lessons(kept, build_network(kept))
    assert (found.has_crops, found.count) == (True, 5)
    assert {found[number].searches.dtype for number in range(5)} == {torch.uint8}


def test_lessons_are_features_if_the_backbone_is_frozen(
    tmp_path: Path, config: TrainConfig
) -> None:
    schedule = dataclasses.replace(config.schedule, trained_blocks=0)
    kept = with_lessons(dataclasses.replace(config, schedule=schedule), tmp_path)
    model = build_network(kept)
    for folder in map(Path, kept.lessons):
        views = PackedGroups(folder, json.loads((folder / ORIGIN_FILE).read_text()))
        origin = features_origin(views.origin, model)
        with pytest.raises(ValueError, match=r'features-.* lacks 1 files: make them with hcat les'):
            open_lessons(kept, model)
        write_features(features_folder(folder, origin), origin, views, model)
    found = open_lessons(kept, model)
    assert (found.has_crops, found.count) == (False, 5)
    assert found[0].searches.shape == (2, 112, 8, 8)
    # The order depends on the run's seed.
    other = dataclasses.replace(kept, schedule=dataclasses.replace(schedule, seed=3))
    orders = [
        [open_lessons(run, model)[number].boxes for number in range(5)] for run in (kept, other)
    ]
    assert not torch.equal(*(torch.stack(order) for order in orders))


def test_lessons_of_other_sizes_are_refused(tmp_path: Path, config: TrainConfig) -> None:
    kept = with_lessons(config, tmp_path)
    network = dataclasses.replace(config.network, search_size=160)
    other = dataclasses.replace(kept, network=network)
    with pytest.raises(ValueError, match=r'one has crops of \[64, 128\] px, expected \[64, 160\]'):
        open_lessons(other, build_network(other))
    folder = tmp_path / 'taught'
    claim(folder, {**views_origin(config, 1), 'teachers': [{}]})
    taught = dataclasses.replace(kept, lessons=(str(folder),))
    with pytest.raises(ValueError, match=r'taught has lessons of 16 x 16 cells, .* has 8 x 8'):
        open_lessons(taught, build_network(taught))
