# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from runs import scheduled

from hcat_ros.network import HCAT
from hcat_ros.training import kept_groups
from hcat_ros.training.config import DataConfig, TrainConfig
from hcat_ros.training.groups import Group
from hcat_ros.training.kept_groups import (
    ORIGIN_FILE,
    KeptGroups,
    Origin,
    ShuffledEpochs,
    claim,
    features_origin,
    keep_truth,
    missing_parts,
    part_file,
    part_groups,
    read_origin,
    truth_fields,
    views_origin,
    write_rows,
)
from hcat_ros.training.teachers import GRID, Lesson, TeacherConfig

GROUPS, VIEWS = 7, 2
ORIGIN: Origin = {'groups': GROUPS, 'views': VIEWS, 'seed': 0, 'teachers': []}


class Truths(KeptGroups):
    """Stored groups that consist of the ground truth only."""

    has_crops = True

    @staticmethod
    def fields(origin: Origin) -> list[Any]:
        return truth_fields(origin)

    def inputs(self, part: int, row: Any) -> Sequence[np.ndarray]:
        return [np.full((VIEWS, 1), part)] * 2


def group(number: int, lesson: Lesson | None = None) -> Group:
    """A group whose boxes encode its number."""
    boxes = torch.tensor([[number, view, 0.25, 0.5] for view in range(VIEWS)])
    shown = torch.tensor([number % 2 == 0, True])
    return Group(torch.zeros(VIEWS, 1), torch.zeros(VIEWS, 1), boxes, shown, lesson)


def lesson(number: int) -> Lesson:
    drawn = torch.Generator().manual_seed(number)
    scores = torch.rand(VIEWS, VIEWS, GRID**2, generator=drawn)
    scores[range(VIEWS), range(VIEWS)] = torch.nan
    return Lesson(scores, torch.rand(VIEWS, VIEWS, 4, generator=drawn))


def write(folder: Path, origin: Origin = ORIGIN, first: int = 0) -> None:
    """Write the missing files; `first`: number of the first group."""
    claim(folder, origin)
    for part in missing_parts(folder, origin):
        numbers = part_groups(origin, part)
        rows = np.zeros(len(numbers), truth_fields(origin))
        for row, number in zip(rows, numbers):
            keep_truth(row, group(first + number, lesson(number) if origin['teachers'] else None))
        write_rows(part_file(folder, part), rows)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_groups, 'PART_GROUPS', 3)


def numbers_of(groups: Any, indices: range) -> list[int]:
    return [int(groups[index].boxes[0, 0]) for index in indices]


def test_stored_groups_are_read_back(tmp_path: Path) -> None:
    origin = {**ORIGIN, 'teachers': [{}]}
    write(tmp_path / 'taught', origin)
    write(tmp_path / 'alone')
    assert [len(part_groups(ORIGIN, part)) for part in range(3)] == [3, 3, 1]
    taught, alone = Truths(tmp_path / 'taught', origin), Truths(tmp_path / 'alone', ORIGIN)
    assert len(taught) == len(alone) == GROUPS
    for number in range(GROUPS):
        found, expected = taught[number], group(number)
        assert torch.equal(found.boxes, expected.boxes)
        assert torch.equal(found.shown, expected.shown)
        assert found.templates[0, 0] == number // 3  # the number of the file
        assert found.lesson is not None
        told = lesson(number)
        assert found.lesson.scores.dtype == torch.float32
        torch.testing.assert_close(
            found.lesson.scores, told.scores, rtol=1e-3, atol=1e-4, equal_nan=True
        )
        assert torch.equal(found.lesson.boxes, told.boxes)
        assert alone[number].lesson is None
        found.boxes.fill_(9)  # its own memory, not the file's
    assert numbers_of(taught, range(GROUPS)) == list(range(GROUPS))


def test_missing_files_are_detected_and_written_again(tmp_path: Path) -> None:
    assert missing_parts(tmp_path, ORIGIN) == [0, 1, 2]
    write(tmp_path)
    lost = part_file(tmp_path, 1)
    whole = lost.read_bytes()
    lost.unlink()
    assert missing_parts(tmp_path, ORIGIN) == [1]
    with pytest.raises(ValueError, match='lacks 1 files: make them with hcat lessons first'):
        Truths(tmp_path, ORIGIN)
    write(tmp_path)
    assert lost.read_bytes() == whole
    assert not list(tmp_path.glob('*.partial'))


def test_a_folder_with_another_origin_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / 'new'
    for _ in range(2):
        claim(folder, ORIGIN)
    assert read_origin(folder) == ORIGIN
    with pytest.raises(ValueError) as error:
        claim(folder, {**ORIGIN, 'seed': 1, 'more': 2})
    assert f'{folder} was made with another seed, more (seed: 0, now 1)' in str(error.value)
    with pytest.raises(ValueError, match=r'another views \(views: 2, now 3\)'):
        missing_parts(folder, {**ORIGIN, 'views': 3})
    assert read_origin(folder) == ORIGIN


def test_reading_a_folder_without_groups_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='lacks 3 files: make them with hcat lessons first'):
        Truths(tmp_path / 'none', ORIGIN)
    assert not (tmp_path / 'none').exists()


@pytest.mark.parametrize('content', ['{', '[1]', '{"groups": 3}', '{"groups": "x", "views": 2}'])
def test_a_damaged_origin_file_is_named_in_the_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=f'{tmp_path} holds no groups: make them with hcat less'):
        read_origin(tmp_path)
    (tmp_path / ORIGIN_FILE).write_text(content)
    with pytest.raises(ValueError, match=r'origin\.json is damaged .*; delete its folder'):
        read_origin(tmp_path)
    with pytest.raises(ValueError, match=r'origin\.json is damaged|was made with another'):
        claim(tmp_path, ORIGIN)


def test_damaged_files_are_named_in_the_error(tmp_path: Path) -> None:
    write(tmp_path)
    path = part_file(tmp_path, 2)
    rows = np.load(part_file(tmp_path, 0)), np.zeros(1)  # a wrong number of groups; a wrong type
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r'part-0002\.npy is damaged'):
        Truths(tmp_path, ORIGIN)
    for wrong in rows:
        np.save(path, wrong)
        with pytest.raises(ValueError, match=r'part-0002\.npy has \d rows of .*; delete it'):
            Truths(tmp_path, ORIGIN)


def test_an_origin_covers_every_setting_that_changes_the_views(
    config: TrainConfig, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ('b.onnx', 'h.onnx')]
    for file in files:
        file.write_bytes(b'1')
    taught = dataclasses.replace(config, teachers=(TeacherConfig(*map(str, files)),))
    first = views_origin(taught, 9)
    assert first == json.loads(json.dumps(first)) == views_origin(taught, 9)
    # The length of the training and its learning rate do not matter.
    assert views_origin(scheduled(taught, steps=99, batch=1, learning_rate=1), 9) == first
    network = dataclasses.replace(config.network, search_size=160)
    others = [
        scheduled(taught, seed=1),
        scheduled(taught, views=3),
        dataclasses.replace(taught, network=network),
        dataclasses.replace(taught, data=(*taught.data, DataConfig(1, root='x'))),
        dataclasses.replace(taught, distractors='x'),
        config,
    ]
    origins = [views_origin(taught, 8), *(views_origin(other, 9) for other in others)]
    files[1].write_bytes(b'2')
    origins.append(views_origin(taught, 9))
    assert all(origin != first for origin in origins)


def test_the_origin_of_features_identifies_the_backbone(config: TrainConfig) -> None:
    views, model = views_origin(config, GROUPS), HCAT(config.network)
    first = features_origin(views, model)
    assert first.items() >= views.items()
    assert (first['template'], first['search']) == ([112, 4, 4], [112, 8, 8])
    with torch.no_grad():
        model.projection.weight.zero_()  # the rest of the network does not affect the features
        assert features_origin(views, model) == first
        next(model.backbone.parameters()).mul_(1.001)
    assert features_origin(views, model)['backbone'] != first['backbone']


def test_each_seed_has_its_own_order_and_each_epoch_all_groups(tmp_path: Path) -> None:
    write(tmp_path)
    kept, two_rounds = Truths(tmp_path, ORIGIN), range(2 * GROUPS)
    first, again, other = (
        numbers_of(ShuffledEpochs([kept], seed), two_rounds) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert first[:GROUPS] != first[GROUPS:]
    for order in (first, other):
        assert sorted(order[:GROUPS]) == sorted(order[GROUPS:]) == list(range(GROUPS))
    # An item depends only on seed and index.
    epochs = ShuffledEpochs([kept], 1)
    assert [numbers_of(epochs, range(n, n + 1)) for n in (9, 2, 13)] == [
        [first[n]] for n in (9, 2, 13)
    ]
    assert len(epochs) > 1 << 39


def test_epochs_may_be_limited_to_the_first_groups(tmp_path: Path) -> None:
    write(tmp_path)
    kept = Truths(tmp_path, ORIGIN)
    assert sorted(numbers_of(ShuffledEpochs([kept], 1, 4), range(4))) == [0, 1, 2, 3]
    for count in (0, 8):
        with pytest.raises(ValueError, match=f'{count} groups: there are 7'):
            ShuffledEpochs([kept], 1, count)


def test_epochs_mix_the_groups_of_several_folders(tmp_path: Path) -> None:
    more = {**ORIGIN, 'groups': 4, 'seed': 9}
    write(tmp_path / 'a')
    write(tmp_path / 'b', more, first=GROUPS)
    kept = [Truths(tmp_path / 'a', ORIGIN), Truths(tmp_path / 'b', more)]
    epochs = ShuffledEpochs(kept, 3)
    assert epochs.has_crops
    order = numbers_of(epochs, range(2 * 11))
    assert sorted(order[:11]) == sorted(order[11:]) == list(range(11))
    assert max(order[:GROUPS]) >= GROUPS  # they are mixed


def test_folders_with_different_numbers_of_views_are_refused(tmp_path: Path) -> None:
    other = {**ORIGIN, 'views': 1}
    claim(tmp_path / 'b', {**other, 'groups': 0})
    write(tmp_path / 'a')
    kept = [Truths(tmp_path / 'a', ORIGIN), Truths(tmp_path / 'b', {**other, 'groups': 0})]
    with pytest.raises(ValueError, match=r'groups of 1, 2 views: expected the same number'):
        ShuffledEpochs(kept)


def test_files_are_not_held_open(tmp_path: Path) -> None:
    """A process may often open only 1024 files, and folders have hundreds."""
    resource = pytest.importorskip('resource', reason='needs limits of processes')
    origin = {**ORIGIN, 'groups': 120}
    write(tmp_path, origin)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path('/proc/self/fd').iterdir())) if Path('/proc/self/fd').is_dir() else 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, before[1]))
    try:
        kept = Truths(tmp_path, origin)
        assert numbers_of(kept, range(120)) == list(range(120))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
