# SPDX-License-Identifier: Apache-2.0
"""Weights with invalid values, and files that claim more than they hold."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

import safetensors.torch
import torch
from test_checkpoint_refused import KINDS, model, refusal, write

from hcat_ros.network import HCAT, load_checkpoint, save_checkpoint

__all__ = ['model']  # a fixture


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_tensors_with_non_finite_values_are_named(
    model: HCAT, tmp_path: Path, kind: str, value: float
) -> None:
    name = 'input_proj.bias'
    broken = model.state_dict()[name].clone()
    broken[3] = value
    path = write(model, tmp_path, kind, **{name: broken})
    assert f"'{name}' has values that are not finite" in refusal(path)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        ('version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'git lfs pull'),
        ('\n<!DOCTYPE html><html>', 'is an HTML page; download the file itself'),
    ],
)
def test_a_git_lfs_pointer_or_an_html_page_is_named_in_the_error(
    tmp_path: Path, suffix: str, content: str, reason: str
) -> None:
    path = tmp_path / f'weights{suffix}'
    path.write_text(content)
    assert reason in refusal(path)


@pytest.mark.parametrize('kind', ['sparse', 'csr', 'quantized', 'nested', 'meta'])
def test_tensors_that_are_not_plain_are_named(model: HCAT, tmp_path: Path, kind: str) -> None:
    name = 'input_proj.bias'
    plain = model.state_dict()[name]
    made = {
        'sparse': plain.to_sparse,
        'csr': torch.eye(3).to_sparse_csr,
        'quantized': lambda: torch.quantize_per_tensor(plain, 0.1, 0, torch.quint8),
        'nested': lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        'meta': lambda: plain.to('meta'),
    }
    path = write(model, tmp_path, 'zip', **{name: made[kind]()})
    assert f"tensor '{name}' is sparse, quantized, nested or without values" in refusal(path)


@pytest.mark.parametrize(
    'dtype', [torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn], ids=str
)
def test_weights_of_an_unsupported_type_are_refused(
    model: HCAT, tmp_path: Path, dtype: torch.dtype
) -> None:
    name = 'input_proj.bias'
    path = write(model, tmp_path, 'zip', **{name: model.state_dict()[name].to(dtype)})
    assert f"tensor '{name}' has values of type {dtype}; expected one of" in refusal(path)


def test_weights_beyond_the_range_of_float32_are_refused(model: HCAT, tmp_path: Path) -> None:
    name = 'input_proj.bias'
    large = torch.full_like(model.state_dict()[name], 1e300, dtype=torch.float64)
    path = write(model, tmp_path, 'zip', **{name: large})
    assert f"'{name}' has values that are not finite" in refusal(path)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_weights_of_other_precisions_load(model: HCAT, tmp_path: Path, dtype: torch.dtype) -> None:
    state = model.state_dict()
    torch.save(
        {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()},
        tmp_path / 'weights.pth',
    )
    loaded = load_checkpoint(tmp_path / 'weights.pth').state_dict()
    assert all(loaded[name].dtype == value.dtype for name, value in state.items())
    assert all(torch.allclose(loaded[name], value, atol=1e-2) for name, value in state.items())


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'module._orig_mod.'])
def test_name_prefixes_of_parallel_and_compiled_training_are_removed(
    model: HCAT, tmp_path: Path, prefix: str
) -> None:
    """DistributedDataParallel puts `module.` before each name, torch.compile `_orig_mod.`."""
    state = {f'{prefix}{name}': value for name, value in model.state_dict().items()}
    torch.save({'net': state}, tmp_path / 'weights.pth')
    loaded = load_checkpoint(tmp_path / 'weights.pth').state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in model.state_dict().items())


def test_assumed_configuration_fields_are_logged(
    model: HCAT, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(model, tmp_path, 'zip')
    load_checkpoint(path)
    (text,) = caplog.messages
    assert f'{path} says nothing of heads 8, hierarchical True' in text
    caplog.clear()
    load_checkpoint(path, heads=8, hierarchical=True, attention='cross', box_anchor=False)
    save_checkpoint(model, tmp_path / 'ours.safetensors')
    load_checkpoint(tmp_path / 'ours.safetensors')
    assert caplog.messages == []


def test_records_that_unpack_to_more_than_the_file_are_refused(model: HCAT, tmp_path: Path) -> None:
    """PyTorch does not compress records; a compressed one of 4 MB could unpack to 4 GB."""
    path = write(model, tmp_path, 'zip')
    packed = tmp_path / 'packed.pth'
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, 'w') as target:
        for record in source.infolist():
            target.writestr(record.filename, bytes(1 << 20), zipfile.ZIP_DEFLATED)
    assert 'its records claim ' in refusal(packed)


def test_a_torchscript_program_is_called_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / 'program.pt'
    with zipfile.ZipFile(path, 'w') as archive:  # as torch.jit.save writes it
        archive.writestr('program/constants.pkl', b'\x80\x02).')
        archive.writestr('program/code/__torch__.py', 'pass\n' * 100, zipfile.ZIP_DEFLATED)
    assert 'is a TorchScript program; expected weights: torch.save(' in refusal(path)


def test_a_tensor_of_one_value_with_a_huge_shape_is_refused(model: HCAT, tmp_path: Path) -> None:
    huge = torch.zeros(1).expand(1 << 20, 1 << 20, 1, 1)
    path = write(model, tmp_path, 'zip', **{'input_proj.weight': huge})
    assert 'has fewer values than its shape (1048576, 1048576, 1, 1)' in refusal(path)


def test_a_configuration_of_gigabytes_is_refused_before_it_is_built(
    model: HCAT, tmp_path: Path
) -> None:
    state = model.state_dict()
    config = {**json.loads(json.dumps(vars(model.config))), 'sparse_vectors': 4096}
    path = tmp_path / 'weights.safetensors'
    safetensors.torch.save_file(state, path, {'hcat_config': json.dumps(config)})
    assert 'sparse_vectors 4096 does not fit its tensors' in refusal(path)


def test_a_fifo_is_refused_as_a_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'weights.pth')
    assert 'is a FIFO' in refusal(tmp_path / 'weights.pth')


TEN_GIGABYTES = b'\x8a\x05\x00\xe4\x0bT\x02'
"""The number 10**10 in a pickle."""


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        (b'c__builtin__\nbytearray\n' + TEN_GIGABYTES + b'\x85R', 'it calls bytearray'),
        (b'cbuiltins\nbytearray\n' + TEN_GIGABYTES + b'\x85R', 'it calls bytearray'),
        # Each call in turn doubles the text.
        (b'c_codecs\nencode\n' * 40 + b'U\x02ab' + b'U\x03HeX\x86R' * 40, 'it calls encode'),
        # A tuple of the empty tuple twice, of that twice and so on: 2**20 - 1 tuples; as a key.
        (b'})' + b'q\x00h\x00\x86' * 60 + b'K\x01s', 'its tuples have 1048575 items'),
        (b'})' + b'q\x00(h\x00h\x00t' * 60 + b'K\x01s', 'its tuples have 1048575 items'),
    ],
)
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_a_small_file_that_asks_for_gigabytes_or_years_is_refused(
    tmp_path: Path, value: bytes, reason: str, zipped: bool
) -> None:
    path = tmp_path / 'weights.pth'
    torch.save({'key': 'value'}, path, _use_new_zipfile_serialization=zipped)
    content = b'\x80\x02' + value + b'.'
    if zipped:
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('weights/data.pkl', content)
    else:
        path.write_bytes(path.read_bytes().replace(pickle.dumps({'key': 'value'}, 2), content))
    assert reason in refusal(path)


@pytest.mark.parametrize(
    ('header', 'reason'),
    [
        ({'a': {'dtype': 'F4', 'shape': [2], 'data_offsets': [0, 1]}}, "tensors of type 'F4'"),
        (
            {
                '__metadata__': None,
                'a': {'dtype': 'F32', 'shape': [], 'data_offsets': [0, 4]},
            },
            "tensor 'input_proj.weight' is missing",
        ),
    ],
)
def test_an_unusual_header_of_safetensors_is_refused(
    tmp_path: Path, header: dict[str, object], reason: str
) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / 'weights.safetensors'
    size = 1 if 'F4' in reason else 4
    path.write_bytes(len(text).to_bytes(8, 'little') + text + bytes(size))
    assert reason in refusal(path)


def test_a_layer_of_five_thousand_digits_is_named_in_the_error(model: HCAT, tmp_path: Path) -> None:
    """Python refuses such a number, but not with a message that names the file."""
    name = f'featurefusion_network.encoder.layers.{"1" * 5000}.weight'
    text = refusal(write(model, tmp_path, 'zip', **{name: torch.zeros(1)}))
    assert 'unexpected tensors: featurefusion_network.encoder.layers.111' in text
    assert len(text) < 1000
