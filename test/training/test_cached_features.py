# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from runs import scheduled

from hcat_ros.network import HCAT, load_checkpoint
from hcat_ros.training import kept_groups
from hcat_ros.training.build import build_data, build_network
from hcat_ros.training.cached_features import CachedGroups, features_folder, write_features
from hcat_ros.training.config import TrainConfig
from hcat_ros.training.groups import Group, GroupDataset
from hcat_ros.training.kept_groups import ShuffledEpochs, features_origin, views_origin
from hcat_ros.training.loop import WEIGHTS_FILE, Trainer
from hcat_ros.training.losses import Losses
from hcat_ros.training.packed_views import PackedGroups, write_views
from hcat_ros.training.teachers import GRID, Lesson

GROUPS = 7


class Kept:
    """A feature cache of a few groups in files of three, and the data and model it is made from."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        self.config = scheduled(config, trained_blocks=0)
        self.model = build_network(self.config)
        for module in self.model.backbone.modules():
            if isinstance(module, torch.nn.Conv2d):  # fresh weights give similar features
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
        self.data = build_data(self.config)
        self.origin = features_origin(views_origin(self.config, GROUPS), self.model)
        self.folder = folder
        write_features(folder, self.origin, self.data, self.model)

    def groups(self, **changed: Any) -> CachedGroups:
        return CachedGroups(self.folder, {**self.origin, **changed})


@pytest.fixture
def kept(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    monkeypatch.setattr(kept_groups, 'PART_GROUPS', 3)
    return Kept(config, tmp_path / 'features')


def features_of(model: HCAT, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.backbone(model.normalise(images))


def assert_close(kept: torch.Tensor, features: torch.Tensor) -> None:
    """Compare within the precision of float16."""
    assert kept.dtype == torch.float16
    assert features.std() > 0.1
    deviation = features.std().item()
    torch.testing.assert_close(kept.float(), features, rtol=1e-3, atol=1e-3 * deviation)


def test_stored_features_are_those_of_the_backbone(kept: Kept) -> None:
    found = kept.groups()
    assert not found.has_crops
    for number in (0, 2, 3, 6):  # of the first, a later and the last file
        group, images = found[number], kept.data[number]
        assert_close(group.templates, features_of(kept.model, images.templates))
        assert_close(group.searches, features_of(kept.model, images.searches))
        assert torch.equal(group.boxes, images.boxes)
        assert torch.equal(group.shown, images.shown)
        assert group.lesson is None


def test_features_of_stored_views_include_their_lessons(kept: Kept, tmp_path: Path) -> None:
    class Taught(GroupDataset):
        def __getitem__(self, index: int) -> Group:
            scores = torch.full((2, 2, GRID**2), float(index))
            return super().__getitem__(index)._replace(lesson=Lesson(scores, scores[..., :4]))

    data = copy.copy(kept.data)
    data.__class__ = Taught
    origin = {**views_origin(kept.config, 2), 'teachers': ['double']}
    write_views(tmp_path / 'views', origin, data)
    views = PackedGroups(tmp_path / 'views', origin)
    of_features = features_origin(origin, kept.model)
    folder = features_folder(tmp_path / 'views', of_features)
    digest = of_features['backbone'].split()[1]
    assert folder == tmp_path / 'views' / f'features-efficientnet_lite0-{digest[:8]}'
    write_features(folder, of_features, views, kept.model)
    found = CachedGroups(folder, of_features)
    for number in range(2):
        assert_close(found[number].searches, features_of(kept.model, views[number].searches))
        lesson = found[number].lesson
        assert lesson is not None
        assert (lesson.scores == number).all()
        assert lesson.boxes.shape == (2, 2, 4)


class InOrder(GroupDataset):
    """The images, in the order in which the features are read."""

    order: np.ndarray

    def __getitem__(self, index: int) -> Group:
        return super().__getitem__(int(self.order[index]))


def test_training_on_features_takes_the_same_steps_as_on_images(kept: Kept, tmp_path: Path) -> None:
    schedule = dataclasses.replace(kept.config.schedule, steps=3, seed=5, learning_rate=3e-3)
    images = copy.copy(kept.data)
    images.__class__ = InOrder
    images.order = np.random.default_rng([5, 0]).permutation(GROUPS)
    losses: list[list[float]] = []
    moved: list[torch.Tensor] = []
    features = ShuffledEpochs([kept.groups()], seed=5)
    for name, data in (('images', images), ('features', features)):
        trainer = Trainer(copy.deepcopy(kept.model), data, schedule, tmp_path / name)
        seen: list[float] = []

        def on_step(step: int, found: Losses, pairs: float, seen: list[float] = seen) -> None:
            seen.append(found.total.item())

        trainer.run(on_step)
        losses.append(seen)
        own, first = trainer.model.state_dict(), kept.model.state_dict()
        moved.append(torch.cat([(own[n] - first[n]).flatten().float() for n in first]))
    assert losses[1] == pytest.approx(losses[0], rel=2e-3)
    assert np.ptp(losses[0]) > 0.05 * losses[0][0]  # the steps differ from each other
    # AdamW's first steps all have the same size; if a gradient is near 0 their sign may differ.
    assert torch.nn.functional.cosine_similarity(*moved, dim=0) > 0.95


def test_saved_weights_include_the_unchanged_backbone(kept: Kept, tmp_path: Path) -> None:
    schedule = dataclasses.replace(kept.config.schedule, steps=1)
    epochs = ShuffledEpochs([kept.groups()])
    Trainer(copy.deepcopy(kept.model), epochs, schedule, tmp_path / 'run').run()
    found: HCAT = load_checkpoint(tmp_path / 'run' / WEIGHTS_FILE)
    for name, value in kept.model.backbone.state_dict().items():
        assert torch.equal(found.backbone.state_dict()[name], value)
    assert not torch.equal(found.projection.weight, kept.model.projection.weight)


def test_writing_an_interrupted_cache_continues(kept: Kept) -> None:
    lost = kept.folder / 'part-0001.npy'
    whole, others = lost.read_bytes(), [p for p in kept.folder.glob('part-*') if p != lost]
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in others}
    with pytest.raises(ValueError, match='lacks 1 files: make them with hcat lessons first'):
        kept.groups()
    write_features(kept.folder, kept.origin, kept.data, kept.model)
    assert lost.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in others} == before
    assert not list(kept.folder.glob('*.partial'))


def test_a_cache_of_another_seed_or_backbone_is_refused(kept: Kept) -> None:
    with pytest.raises(ValueError, match=r'another seed \(seed: 0, now 1\); take another folder'):
        kept.groups(seed=1)
    backbone = copy.deepcopy(kept.model)
    with torch.no_grad():
        next(backbone.backbone.parameters()).mul_(1.001)
    other = features_origin(views_origin(kept.config, GROUPS), backbone)
    with pytest.raises(ValueError, match=r'another backbone \(backbone: .efficientnet_lite0 '):
        write_features(kept.folder, other, kept.data, backbone)


def test_trained_backbones_and_values_beyond_float16_are_refused(
    kept: Kept, tmp_path: Path
) -> None:
    schedule = dataclasses.replace(kept.config.schedule, trained_blocks=2)
    with pytest.raises(ValueError, match='trained_blocks 2: expected 0, because stored features'):
        Trainer(kept.model, ShuffledEpochs([kept.groups()]), schedule, tmp_path)
    with torch.no_grad():
        kept.model.backbone.blocks[-1].project.bias.fill_(1e5)
    origin = features_origin(views_origin(kept.config, GROUPS), kept.model)
    with pytest.raises(ValueError, match='do not fit float16'):
        write_features(tmp_path / 'other', origin, kept.data, kept.model)
