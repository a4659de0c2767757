# SPDX-License-Identifier: Apache-2.0
"""Weights that are refused: files that would run code, damaged files, tensors that do not fit."""

from __future__ import annotations

import datetime
import json
import os
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

import safetensors
import safetensors.torch
import torch

from hcat_ros.network import HCAT, CheckpointError, HCATConfig, load_checkpoint, save_checkpoint

FUSION = 'featurefusion_network'
KINDS = ['zip', 'legacy', 'safetensors']


@pytest.fixture(scope='module')
def model() -> HCAT:
    torch.manual_seed(3)
    return HCAT(HCATConfig(channels=32, heads=8, ffn_channels=48)).eval()


def write(model: HCAT, folder: Path, kind: str, **changes: Any) -> Path:
    """A checkpoint with some tensors changed, None for left out."""
    state = {**model.state_dict(), **changes}
    state = {name: value for name, value in state.items() if value is not None}
    path = folder / ('weights.safetensors' if kind == 'safetensors' else 'weights.pth')
    if kind == 'safetensors':
        safetensors.torch.save_file(state, path)
    else:
        torch.save({'net': state}, path, _use_new_zipfile_serialization=kind == 'zip')
    return path


def refusal(path: Path, **overrides: Any) -> str:
    """The message of the CheckpointError, which names the file."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, **overrides)
    assert str(path) in str(error.value)
    return str(error.value)


class Attack:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'plain pickle'])
@pytest.mark.parametrize('key', ['net', 'settings'])
def test_a_file_that_would_run_a_command_is_refused_and_runs_nothing(
    tmp_path: Path, model: HCAT, kind: str, key: str
) -> None:
    trace, path = tmp_path / 'trace', tmp_path / 'weights.pth'
    content = {'net': model.state_dict(), key: Attack(f'touch {trace}')}
    if kind == 'plain pickle':
        path.write_bytes(pickle.dumps({key: content[key]}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    message = refusal(path)
    assert f"'{os.system.__module__}.system'" in message
    assert 'could run code' in message
    assert 'weights_only' not in message  # torch's message suggests to run it
    assert not trace.exists()
    with path.open('rb') as file:  # the attack is a real one
        if kind == 'plain pickle':
            pickle.load(file)
        else:
            torch.load(file, weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize(
    ('value', 'name'),
    [
        (Fraction(1, 3), 'fractions.Fraction'),
        (datetime.date(2022, 3, 4), 'datetime.date'),
        (Path('x'), 'pathlib'),
        (print, 'print'),
    ],
)
def test_any_other_class_is_refused_by_name(
    tmp_path: Path, model: HCAT, zipped: bool, value: Any, name: str
) -> None:
    path = tmp_path / 'weights.pth'
    content = {'net': model.state_dict(), 'stats': value}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    message = refusal(path)
    assert f"'{name}" in message
    assert 'save its state dict alone' in message


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('share', [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(tmp_path: Path, model: HCAT, kind: str, share: float) -> None:
    path = write(model, tmp_path, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    message = refusal(path)
    assert 'not a readable' in message if kind == 'safetensors' else 'truncated' in message
    assert '\n' not in message
    assert 'weights_only' not in message


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('content', [b'', b'<html>404 not found</html>' * 9, b'\x80\x02}q\x00.'])
def test_a_file_that_holds_no_weights_is_refused(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f'weights{suffix}'
    path.write_bytes(content)
    message = refusal(path)
    assert '\n' not in message
    assert 'weights_only' not in message


def test_a_missing_file_is_reported_with_its_path(tmp_path: Path) -> None:
    for path in (tmp_path / 'no.pth', tmp_path / 'no.safetensors', tmp_path):
        with pytest.raises(FileNotFoundError) as error:
            load_checkpoint(path)
        assert str(error.value) == f'no checkpoint at {path}'


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('changes', 'reasons'),
    [
        ({'class_embed.layers.0.bias': None}, ['missing tensors: class_embed.layers.0.bias']),
        ({'surplus.weight': torch.zeros(2)}, ['unexpected tensors: surplus.weight']),
        (
            {'bbox_embed.layers.2.weight': torch.zeros(5, 32)},
            ['bbox_embed.layers.2.weight has shape (5, 32), expected (4, 32)'],
        ),
        (
            {
                f'{FUSION}.decoder.norm.bias': None,
                'surplus': torch.zeros(2),
                'class_embed.layers.1.bias': torch.zeros(3),
            },
            [
                f'missing tensors: {FUSION}.decoder.norm.bias',
                'unexpected tensors: surplus',
                'class_embed.layers.1.bias has shape (3,), expected (32,)',
            ],
        ),
        ({f'surplus.{i}': torch.zeros(1) for i in range(9)}, ['surplus.0', 'and 5 more']),
        ({'backbone.0.body.layer3.0.conv1.weight': None}, ['missing', 'layer3.0.conv1.weight']),
        # Tensors from which the configuration is derived.
        ({'input_proj.weight': None}, ["'input_proj.weight' is missing", 'an HCAT network?']),
        ({'input_proj.weight': torch.zeros(3)}, ["'input_proj.weight' has shape (3,)"]),
        ({'input_proj.weight': torch.tensor(1.0)}, ["'input_proj.weight' has shape ()"]),
        ({'query_embed.weight': torch.tensor(1.0)}, ["'query_embed.weight' has shape ()"]),
        ({'query_embed.weight': None}, ["'query_embed.weight' is missing"]),
        ({'query_embed.weight': torch.zeros(0, 32)}, ['sparse_vectors 0']),
        (
            {f'{FUSION}.decoder.layers.0.linear1.weight': torch.tensor(1.0)},
            ["linear1.weight' has shape ()"],
        ),
        ({f'{FUSION}.decoder.layers.0.linear1.weight': None}, ["linear1.weight' is missing"]),
        (
            {f'{FUSION}.encoder.layers.900000000.linear11.bias': torch.zeros(1)},
            ['unexpected tensors', 'layers.900000000.linear11.bias'],
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else '',
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, model: HCAT, kind: str, changes: dict[str, Any], reasons: list[str]
) -> None:
    message = refusal(write(model, tmp_path, kind, **changes))
    for reason in reasons:
        assert reason in message


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ({'net': {}}, 'not named tensors'),
        ([torch.zeros(3)], 'holds a list, not named tensors'),
        (torch.zeros(3), 'holds a Tensor, not named tensors'),
        (None, 'holds a NoneType'),
        ({'epoch': 3, 'model': {'a': torch.zeros(3)}}, "entry 'epoch' is a int, not a tensor"),
        ({'net': {'query_embed.weight': [1.0, 2.0]}}, "entry 'query_embed.weight' is a list"),
        ({'net': {3: torch.zeros(3)}}, 'entry 3'),
        ({'conv.weight': torch.zeros(3)}, "'input_proj.weight' is missing"),
    ],
)
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_content_that_is_no_state_dict_is_refused(
    tmp_path: Path, content: Any, reason: str, zipped: bool
) -> None:
    path = tmp_path / 'weights.pth'
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert reason in refusal(path)


@pytest.mark.parametrize(
    ('metadata', 'reason'),
    [
        ('no json', 'not a readable safetensors file'),
        ('[1, 2]', 'metadata hcat_config is not an object: [1, 2]'),
        ('null', 'metadata hcat_config is not an object: None'),
        ('{"colour": "blue"}', "unknown configuration field 'colour'"),
        ('{"channels": "many"}', "channels 'many'"),
        ('{"channels": 32.0}', 'channels 32.0'),
        ('{"channels": 64}', 'channels 64 does not fit its tensors, which show 32'),
        ('{"backbone": ["resnet18"]}', 'backbone'),
        ('{"layers": NaN}', 'layers nan'),
        ('{"layers": 900000000}', 'layers 900000000: expected a whole number from 1 to 64'),
        ('{"channels": 32, "ffn_channels": 900000000}', 'ffn_channels'),
        ('{"mixing": 100000000}', 'mixing 100000000: expected a whole number from 0 to 64'),
        ('{"search_size": 1000000}', 'search_size 1000000: expected a whole number from 1 to 4096'),
        ('[' * 100_000, 'recursion'),
    ],
)
def test_invalid_metadata_is_refused(
    tmp_path: Path, model: HCAT, metadata: str, reason: str
) -> None:
    path = tmp_path / 'weights.safetensors'
    safetensors.torch.save_file(model.state_dict(), path, {'hcat_config': metadata})
    assert reason in refusal(path)


@pytest.mark.parametrize(
    ('overrides', 'reason'),
    [
        ({'colour': 'blue'}, "unknown configuration field 'colour'"),
        ({'heads': 0}, 'heads 0: expected a whole number from 1 to 4096'),
        ({'heads': 5}, 'channels 32: expected a multiple'),
        ({'layers': 1}, 'layers 1 does not fit its tensors, which show 2'),
        ({'correlation': True}, 'correlation True does not fit its tensors, which show False'),
        ({'backbone': 'efficientnet_lite0'}, "'efficientnet_lite0' does not fit its tensors"),
    ],
)
@pytest.mark.parametrize('kind', ['zip', 'safetensors'])
def test_impossible_overrides_are_refused(
    tmp_path: Path, model: HCAT, kind: str, overrides: dict[str, Any], reason: str
) -> None:
    if kind == 'safetensors':
        path = tmp_path / 'weights.safetensors'
        save_checkpoint(model, path)
    else:
        path = write(model, tmp_path, kind)
    assert reason in refusal(path, **overrides)


def test_metadata_of_other_tools_is_ignored(tmp_path: Path, model: HCAT) -> None:
    """Only hcat_config is read; what other tools write beside it does not matter."""
    path = tmp_path / 'weights.safetensors'
    other = {'format': 'pt', 'author': json.dumps({'name': 'someone'})}
    safetensors.torch.save_file(model.state_dict(), path, other)
    assert load_checkpoint(path).config == model.config
