# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that load; test_checkpoint_refused.py has those that are refused."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

import safetensors
import safetensors.torch
import torch

from hcat_ros.network import HCAT, HCATConfig, load_checkpoint, save_checkpoint

SMALL: dict[str, Any] = {'channels': 32, 'heads': 8, 'ffn_channels': 48}
NETWORKS: dict[str, dict[str, Any]] = {
    'N = 1': {'layers': 1},
    'N = 2': {},
    'N = 3': {'layers': 3},
    'S = 1': {'sparse_vectors': 1},
    'S = 25': {'sparse_vectors': 25},
    'C': {'channels': 64},
    'FFN': {'ffn_channels': 20},
    'no FS': {'sparsification': False},
    'stride 8': {'stride': 8},
    'lite0': {'backbone': 'efficientnet_lite0'},
    'lite0, stride 8': {'backbone': 'efficientnet_lite0', 'stride': 8},
    'lite0, correlation': {'backbone': 'efficientnet_lite0', 'correlation': True},
}
FOREIGN = {
    'ltr.admin.model_constructor': ['NetConstructor'],
    'ltr.admin.settings': ['Settings'],
    'ltr.admin.local': ['EnvironmentSettings'],
    'ltr.admin.stats': ['AverageMeter', 'StatValue'],
}


def network(**fields: Any) -> HCAT:
    torch.manual_seed(3)
    return HCAT(HCATConfig(**{**SMALL, **fields})).eval()


def assert_same_weights(one: HCAT, other: HCAT) -> None:
    assert not other.training
    expected, found = one.state_dict(), other.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The classes of the authors' framework, importable while the test writes a file."""
    classes: dict[str, Any] = {}
    for name, class_names in FOREIGN.items():
        module = ModuleType(name)
        for class_name in class_names:
            classes[class_name] = type(class_name, (), {'__module__': name})
            setattr(module, class_name, classes[class_name])
        monkeypatch.setitem(sys.modules, name, module)
    for name in ('ltr', 'ltr.admin'):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    return classes


def authors_file(state: dict[str, Any], classes: dict[str, Any]) -> dict[str, Any]:
    """What the authors' framework saves, including an instance of each of its classes."""

    def instance(name: str, **fields: Any) -> Any:
        made = classes[name]()
        made.__dict__.update(fields)
        return made

    settings = instance('Settings', env=instance('EnvironmentSettings', workspace_dir='/home/x'))
    meter = instance('AverageMeter', history=[instance('StatValue', val=0.5)], avg=0.5)
    return {
        'epoch': 500,
        'actor_type': 'TranstActor',
        'net_type': 'HCAT',
        'net': OrderedDict(state),
        'net_info': None,
        'constructor': instance('NetConstructor', args=(), kwds={'settings': settings}),
        'optimizer': {'state': {0: {'step': 7, 'exp_avg': torch.zeros(3)}}, 'param_groups': []},
        'stats': OrderedDict(train=OrderedDict({'Loss/total': meter})),
        'settings': settings,
    }


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('suffix', ['.pth', '.pth.tar', ''])
def test_the_authors_files_load(
    tmp_path: Path, foreign: dict[str, Any], monkeypatch: Any, zipped: bool, suffix: str
) -> None:
    model, path = network(), tmp_path / f'HCAT_ep0500{suffix}'
    content = authors_file(model.state_dict(), foreign)
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    monkeypatch.undo()  # their framework is not installed where the file is read
    assert 'ltr' not in sys.modules
    loaded = load_checkpoint(path)
    assert loaded.config == model.config
    assert_same_weights(model, loaded)
    assert 'ltr' not in sys.modules


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_a_bare_state_dict_loads(tmp_path: Path, zipped: bool) -> None:
    model, path = network(), tmp_path / 'weights.pth'
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert_same_weights(model, load_checkpoint(str(path)))


def test_the_golden_weights_load_and_give_the_golden_outputs(
    tmp_path: Path, golden: Path, golden_state: dict[str, Any], golden_crops: Any
) -> None:
    import numpy as np

    path = tmp_path / 'golden.pth'
    torch.save({'net': golden_state}, path)
    model = load_checkpoint(path)
    assert model.config == HCATConfig()
    template, search = (model.normalise(torch.from_numpy(crop[None])) for crop in golden_crops)
    with torch.inference_mode():
        logits = model(search, template).logits[0]
    with np.load(golden / 'forward_n2_seed0.npz') as content:
        np.testing.assert_allclose(logits, content['logits'], atol=1e-4, rtol=0)


def test_unused_resnet_stages_in_a_file_are_ignored(tmp_path: Path) -> None:
    model, path = network(), tmp_path / 'weights.pth'
    extra = {
        'backbone.0.body.layer4.0.conv1.weight': torch.zeros(512, 256, 3, 3),
        'backbone.0.body.layer4.1.bn2.num_batches_tracked': torch.tensor(0),
        'backbone.0.body.fc.weight': torch.zeros(1000, 512),
        'backbone.0.body.fc.bias': torch.zeros(1000),
    }
    torch.save({'net': {**model.state_dict(), **extra}}, path)
    assert_same_weights(model, load_checkpoint(path))


def test_num_batches_tracked_may_be_missing(tmp_path: Path) -> None:
    """PyTorch before 0.4.1 did not write them."""
    model, path = network(), tmp_path / 'weights.pth'
    state = {k: v for k, v in model.state_dict().items() if 'num_batches_tracked' not in k}
    assert len(state) < len(model.state_dict())
    torch.save(state, path)
    assert_same_weights(model, load_checkpoint(path))


@pytest.mark.parametrize('name', NETWORKS)
def test_the_configuration_is_derived_from_the_tensors(tmp_path: Path, name: str) -> None:
    model, path = network(**NETWORKS[name]), tmp_path / 'weights.pth'
    torch.save(model.state_dict(), path)
    loaded = load_checkpoint(path)
    assert loaded.config == model.config
    assert_same_weights(model, loaded)


HIDDEN = {
    'heads': 4,
    'hierarchical': False,
    'attention': 'self',
    'box_anchor': True,
    'search_size': 128,
    'dropout': 0.0,
}


@pytest.mark.parametrize('field', HIDDEN)
def test_fields_that_no_tensor_shows_are_given_by_the_caller(tmp_path: Path, field: str) -> None:
    model, path = network(**{field: HIDDEN[field]}), tmp_path / 'weights.pth'
    torch.save(model.state_dict(), path)
    assert getattr(load_checkpoint(path).config, field) == getattr(HCATConfig(), field)
    assert load_checkpoint(path, **{field: HIDDEN[field]}).config == model.config


@pytest.mark.parametrize('name', NETWORKS)
def test_a_saved_network_comes_back_with_its_configuration(tmp_path: Path, name: str) -> None:
    fields = {**NETWORKS[name], **HIDDEN, 'search_size': 192}
    model, path = network(**fields), tmp_path / 'weights.safetensors'
    save_checkpoint(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ['weights.safetensors']
    loaded = load_checkpoint(path)
    assert loaded.config == model.config
    assert_same_weights(model, loaded)


def test_an_override_wins_over_the_metadata(tmp_path: Path) -> None:
    model, path = network(heads=4), tmp_path / 'weights.safetensors'
    save_checkpoint(model, path)
    assert load_checkpoint(path, heads=2).config == dataclasses.replace(model.config, heads=2)


def test_saving_replaces_the_old_file_and_a_failed_save_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'weights.safetensors'
    first, second = network(), network(layers=1)
    save_checkpoint(first, path)

    def fail(target: Path, content: bytes) -> None:
        with target.open('wb') as file:
            file.write(content[: len(content) // 2])
        raise OSError('No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'write_bytes', fail)
        with pytest.raises(OSError, match='No space'):
            save_checkpoint(second, path)
    assert_same_weights(first, load_checkpoint(path))
    save_checkpoint(second, path)
    assert load_checkpoint(path).config.layers == 1


def test_the_saved_file_has_the_reference_names_and_readable_metadata(tmp_path: Path) -> None:
    model, path = network(), tmp_path / 'weights.safetensors'
    save_checkpoint(model, path)
    with safetensors.safe_open(path, framework='pt') as file:
        assert set(file.keys()) == set(model.state_dict())
        assert json.loads(file.metadata()['hcat_config']) == dataclasses.asdict(model.config)


def test_the_first_lite0_weights_load_without_metadata(shared: Path) -> None:
    model = load_checkpoint(shared / 'warmstart' / 'hcat_lite0_n1.safetensors', box_anchor=True)
    config = model.config
    assert (config.backbone, config.channels, config.ffn_channels) == (
        'efficientnet_lite0',
        128,
        256,
    )
    assert (config.layers, config.sparse_vectors, config.correlation) == (1, 16, True)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(1.25e6, rel=0.01)
