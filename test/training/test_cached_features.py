# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from runs import scheduled

from hcat_ros.network import HCAT, load_checkpoint
from hcat_ros.training import cached_features
from hcat_ros.training.build import build_data, build_network
from hcat_ros.training.cached_features import (
    CachedGroups,
    feature_origin,
    missing_parts,
    write_features,
)
from hcat_ros.training.config import TrainConfig
from hcat_ros.training.groups import Group, GroupDataset
from hcat_ros.training.loop import WEIGHTS_FILE, Trainer
from hcat_ros.training.losses import Losses
from hcat_ros.training.teachers import TeacherConfig

GROUPS = 7


class Kept:
    """A cache of a few groups in files of three, and what it is made of."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self.config = scheduled(config, trained_blocks=0)
        self.model = build_network(self.config)
        for module in self.model.backbone.modules():
            if isinstance(module, torch.nn.Conv2d):  # as it starts, features of images are alike
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
        self.data = build_data(self.config)
        self.origin = feature_origin(self.config, self.model, GROUPS)
        self.folder = folder
        write_features(folder, self.origin, self.data, self.model)

    def groups(self, *args: int, **changed: Any) -> CachedGroups:
        return CachedGroups(self.folder, {**self.origin, **changed}, *args)


@pytest.fixture
def kept(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setattr(cached_features, 'PART_GROUPS', 3)
    return Kept(config, tmp_path / 'features')


def test_what_is_kept_is_what_the_backbone_makes(kept: Kept) -> None:
    found = kept.groups()
    for number in (0, 2, 3, 6):  # of the first, a later and the last file
        group, images = found.group(number), kept.data[number]
        for name in ('templates', 'searches'):
            with torch.inference_mode():
                features = kept.model.backbone(kept.model.normalise(getattr(images, name)))
            assert getattr(group, name).dtype == torch.float16
            assert features.std() > 0.1
            torch.testing.assert_close(
                getattr(group, name).float(), features, rtol=1e-3, atol=1e-3 * features.std().item()
            )
        assert torch.equal(group.boxes, images.boxes)
        assert torch.equal(group.shown, images.shown)


class InOrder(GroupDataset):
    """The images, in the order in which features are given."""

    order: np.ndarray

    def __getitem__(self, index: int) -> Group:
        return super().__getitem__(int(self.order[index]))


def test_a_training_takes_the_steps_that_it_takes_on_images(kept: Kept, tmp_path: Path) -> None:
    schedule = dataclasses.replace(kept.config.schedule, steps=3, seed=5, learning_rate=3e-3)
    images = copy.copy(kept.data)
    images.__class__ = InOrder
    images.order = np.random.default_rng([5, 0]).permutation(GROUPS)
    losses: list[list[float]] = []
    moved: list[torch.Tensor] = []
    for name, data in (('images', images), ('features', kept.groups(5))):
        trainer = Trainer(copy.deepcopy(kept.model), data, schedule, tmp_path / name)
        seen: list[float] = []

        def on_step(step: int, found: Losses, pairs: float, seen: list[float] = seen) -> None:
            seen.append(found.total.item())

        trainer.run(on_step)
        losses.append(seen)
        own, first = trainer.model.state_dict(), kept.model.state_dict()
        moved.append(torch.cat([(own[n] - first[n]).flatten().float() for n in first]))
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    assert np.ptp(losses[0]) > 0.05 * losses[0][0]  # each step is another
    # AdamW's first steps are of one size: those of gradients near 0 may turn about.
    assert torch.nn.functional.cosine_similarity(*moved, dim=0) > 0.95


def test_the_weights_are_those_of_the_whole_network(kept: Kept, tmp_path: Path) -> None:
    schedule = dataclasses.replace(kept.config.schedule, steps=1)
    Trainer(copy.deepcopy(kept.model), kept.groups(), schedule, tmp_path / 'run').run()
    found: HCAT = load_checkpoint(tmp_path / 'run' / WEIGHTS_FILE)
    for name, value in kept.model.backbone.state_dict().items():
        assert torch.equal(found.backbone.state_dict()[name], value)
    assert not torch.equal(found.projection.weight, kept.model.projection.weight)


def numbers(kept: Kept, groups: CachedGroups, indices: range) -> list[int]:
    """Return which groups these are."""
    boxes = [kept.data[number].boxes for number in range(GROUPS)]
    return [
        next(n for n, known in enumerate(boxes) if torch.equal(known, groups[index].boxes))
        for index in indices
    ]


def test_each_seed_has_its_order_and_each_round_all_groups(kept: Kept) -> None:
    two_rounds = range(2 * GROUPS)
    first, again, other = (numbers(kept, kept.groups(seed), two_rounds) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert first[:GROUPS] != first[GROUPS:]
    for order in (first, other):
        assert sorted(order[:GROUPS]) == sorted(order[GROUPS:]) == list(range(GROUPS))
    assert sorted(numbers(kept, kept.groups(1, 2, 5), range(3))) == [2, 3, 4]
    with pytest.raises(ValueError, match='groups 3 to 8: the cache has 7'):
        kept.groups(0, 3, 8)


def test_an_interrupted_cache_goes_on(kept: Kept) -> None:
    lost = kept.folder / 'part-0001.npy'
    whole, others = lost.read_bytes(), [p for p in kept.folder.glob('part-*') if p != lost]
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in others}
    assert missing_parts(kept.folder, kept.origin) == [1]
    with pytest.raises(ValueError, match='lacks 1 files: write its features first'):
        kept.groups()
    write_features(kept.folder, kept.origin, kept.data, kept.model)
    assert lost.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in others} == before
    assert not list(kept.folder.glob('*.partial'))


def test_a_cache_of_something_else_is_refused(kept: Kept) -> None:
    with pytest.raises(ValueError, match=r'another seed \(seed: 0, now 1\); take another folder'):
        kept.groups(seed=1)
    backbone = copy.deepcopy(kept.model)
    with torch.no_grad():
        next(backbone.backbone.parameters()).mul_(1.001)
    other = feature_origin(kept.config, backbone, GROUPS)
    with pytest.raises(ValueError, match=r'another backbone \(backbone: .efficientnet_lite0 '):
        write_features(kept.folder, other, kept.data, backbone)
    # The rest of the network has no part in the features.
    with torch.no_grad():
        kept.model.projection.weight.zero_()
    assert feature_origin(kept.config, kept.model, GROUPS) == kept.origin


def test_damaged_files_are_refused(kept: Kept) -> None:
    path = kept.folder / 'part-0002.npy'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'part-0002.npy is damaged'):
        kept.groups()
    for rows in (np.zeros(1), np.load(kept.folder / 'part-0000.npy')):  # the last file has one row
        np.save(path, rows)
        with pytest.raises(ValueError, match=r'part-0002.npy has \d rows of .*; delete it'):
            kept.groups()
    (kept.folder / cached_features.ORIGIN_FILE).write_text(json.dumps([1]))
    with pytest.raises(ValueError, match=r'origin.json is damaged'):
        kept.groups()


def test_what_cannot_be_kept_is_refused(kept: Kept, tmp_path: Path) -> None:
    schedule = dataclasses.replace(kept.config.schedule, trained_blocks=2)
    with pytest.raises(ValueError, match='trained_blocks 2: features that are kept are of a fro'):
        Trainer(kept.model, kept.groups(), schedule, tmp_path)
    taught = dataclasses.replace(kept.config, teachers=(TeacherConfig('b.onnx', 'h.onnx'),))
    with pytest.raises(ValueError, match='teachers: their lessons are not kept'):
        feature_origin(taught, kept.model, GROUPS)
    with torch.no_grad():
        kept.model.backbone.blocks[-1].project.bias.fill_(1e5)
    origin = feature_origin(kept.config, kept.model, GROUPS)
    with pytest.raises(ValueError, match='do not fit float16'):
        write_features(tmp_path / 'other', origin, kept.data, kept.model)
