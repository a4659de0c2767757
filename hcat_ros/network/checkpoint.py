# SPDX-License-Identifier: Apache-2.0
"""Reads and writes weights. Reading a file never runs code from it."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import logging
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from hcat_ros.files import describe_stand_in, read_bytes, shown, whole_file
from hcat_ros.network.config import HCATConfig
from hcat_ros.network.hcat import HCAT
from hcat_ros.network.pickle_bounds import check_pickles

# Classes of the authors' training framework that their files store beside the weights. Inert
# stand-ins under these names let the restricted unpickler skip them.
_FOREIGN_CLASSES = (
    'ltr.admin.model_constructor.NetConstructor',
    'ltr.admin.settings.Settings',
    'ltr.admin.local.EnvironmentSettings',
    'ltr.admin.stats.AverageMeter',
    'ltr.admin.stats.StatValue',
)
# The authors' files also contain the ResNet stages that the network does not use.
_UNUSED_TENSORS = re.compile(r'backbone\.0\.body\.(layer4|fc)\.')
_METADATA_KEY = 'hcat_config'
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


LOG = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """Raised for an unusable weights file; the message names the file and the tensor or global."""


def load_checkpoint(
    path: str | os.PathLike[str], content: bytes | None = None, **overrides: Any
) -> HCAT:
    """Return the network in evaluation mode, with the weights of the file at `path`.

    Reads safetensors (ours), the authors' checkpoints in torch's zip and older formats, and bare
    state dicts. The configuration comes from the names and shapes of the tensors. Fields that no
    tensor shows (heads, hierarchical, attention, box_anchor, sizes) come from `overrides` (fields
    of `HCATConfig`), else from the file's metadata; else they keep their defaults, with a warning.
    content: the bytes of the file, if the caller has already read them.

    The network is allocated only after all shapes have been checked. Raises FileNotFoundError,
    CheckpointError.
    """
    path = Path(path)
    state, fields = read_tensors(path, content)
    shown = _infer_config(state, path)
    known = {field.name for field in dataclasses.fields(HCATConfig)}
    for name in [*fields, *overrides]:
        if name not in known:
            raise CheckpointError(f"{path}: unknown configuration field '{name}'")
    try:
        config = HCATConfig(**{**_assumed(shown), **shown, **fields, **overrides})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: {error}') from error
    for name, value in shown.items():
        if getattr(config, name) != value:
            raise CheckpointError(
                f'{path}: {name} {getattr(config, name)!r} does not fit its tensors, which show '
                f'{value!r}'
            )
    with torch.device('meta'):
        expected = HCAT(config).state_dict()
    _check_tensors(expected, dict(state), path)
    for name, tensor in state.items():
        if not expected[name].is_floating_point():
            continue
        if tensor.dtype not in _FLOATS:
            raise CheckpointError(
                f"{path}: tensor '{name}' has values of type {tensor.dtype}; expected one of "
                f'{", ".join(map(str, _FLOATS))}'
            )
        state[name] = tensor.to(expected[name].dtype)
        if not state[name].isfinite().all():
            raise CheckpointError(f"{path}: tensor '{name}' has values that are not finite")
    model = HCAT(config)
    _check_tensors(model.state_dict(), state, path)
    model.load_state_dict(state)
    if not fields:
        assumed = {
            name: getattr(config, name)
            for name in ('heads', 'hierarchical', 'attention', 'box_anchor')
            if name not in shown and name not in overrides
        }
        if assumed:
            LOG.warning(
                '%s says nothing of %s: these values are assumed; pass others if they are wrong',
                *(path, ', '.join(f'{name} {value}' for name, value in assumed.items())),
            )
    return model.eval()


def save_checkpoint(model: HCAT, path: str | os.PathLike[str]) -> None:
    """Write weights, and the configuration as metadata, to a safetensors file, atomically."""
    path = Path(path)
    metadata = {_METADATA_KEY: json.dumps(dataclasses.asdict(model.config))}
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(path) as partial:
        # save_file would create a file that only its owner can read.
        partial.write_bytes(safetensors.torch.save(state, metadata))


def read_tensors(
    path: Path, content: bytes | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the file's tensors and the configuration fields in its metadata, if any.

    content: as for `load_checkpoint`. Raises FileNotFoundError, CheckpointError.
    """
    if content is None:
        if not path.exists() or path.is_dir():
            raise FileNotFoundError(f'no checkpoint at {path}')
        try:
            content = read_bytes(path)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
    if what := describe_stand_in(content):
        raise CheckpointError(f'{path} {what}')
    if path.suffix == '.safetensors':
        return _read_safetensors(path, content)
    _check_records(path, content)
    stand_ins: list[Any] = [
        (type(name.rsplit('.', 1)[1], (), {}), name) for name in _FOREIGN_CLASSES
    ]
    try:
        check_pickles(content)
        with torch.serialization.safe_globals(stand_ins):
            found = torch.load(io.BytesIO(content), map_location='cpu', weights_only=True)
    except Exception as error:  # of many types for a damaged file
        raise CheckpointError(f'{path}: {_reason(error)}') from error
    if isinstance(found, dict) and isinstance(found.get('net'), dict):
        found = found['net']
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f'{path}: holds a {type(found).__name__}, not named tensors')
    state = {}
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f'{path}: entry {shown(name)} is a {type(value).__name__}, not a tensor; expected '
                "a state dict or a dict with one under 'net'"
            )
        # DistributedDataParallel and torch.compile add these prefixes.
        name = re.sub(r'^((module|_orig_mod)\.)+', '', name)
        is_dense = value.layout == torch.strided and not value.is_nested
        if not is_dense or value.is_quantized or value.is_meta:
            raise CheckpointError(
                f"{path}: tensor '{name[:80]}' is sparse, quantized, nested or without values; "
                'save it as a dense tensor'
            )
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise CheckpointError(
                f"{path}: tensor '{name[:80]}' has fewer values than its shape "
                f'{tuple(value.shape)} needs'
            )
        if not _UNUSED_TENSORS.match(name):
            state[name] = value
    return state, {}


def _check_records(path: Path, content: bytes) -> None:
    """Raise CheckpointError for a torch zip file that would unpack to more than its own size."""
    if not content.startswith(b'PK'):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise CheckpointError(
            f'{path}: truncated, damaged or not a PyTorch file ({error})'
        ) from None
    if any(record.filename.endswith('/constants.pkl') for record in records):
        raise CheckpointError(
            f'{path}: is a TorchScript program; expected weights: '
            "torch.save(torch.jit.load('...').state_dict(), '...')"
        )
    size = sum(record.file_size for record in records)
    if size > len(content) or any(record.compress_type for record in records):
        raise CheckpointError(
            f'{path}: its records claim {size} bytes in a file of {len(content)}; PyTorch writes '
            'records without compression'
        )


def _read_safetensors(path: Path, content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        state = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])
        fields = json.loads((header.get('__metadata__') or {}).get(_METADATA_KEY, '{}'))
    except KeyError as error:  # a type that PyTorch lacks, such as F4
        raise CheckpointError(
            f'{path}: tensors of type {error}, which this PyTorch lacks; save them as F32'
        ) from error
    except (safetensors.SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f'{path}: not a readable safetensors file: {error}') from error
    if not isinstance(fields, dict):
        raise CheckpointError(f'{path}: metadata {_METADATA_KEY} is not an object: {shown(fields)}')
    return state, fields


def _reason(error: Exception) -> str:
    """Return in one line why torch did not read a file, naming a global that torch refused."""
    text = str(error)
    refused = re.search(r'GLOBAL (\S+)', text)
    if refused:
        return (
            f"refused: the file asks for the Python global '{refused[1]}', which could run code; "
            'save its state dict alone and load that'
        )
    # torch adds advice to allow the file to run code; leave it out.
    lines = text.split('WeightsUnpickler error:')[-1].strip().splitlines()
    first = lines[0] if lines else type(error).__name__
    return f'truncated, damaged or not a PyTorch file ({type(error).__name__}: {first})'


def _assumed(shown: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the published TransT that its tensors do not show."""
    if shown.get('attention') != 'self+cross':
        return {}
    assumed: dict[str, Any] = {'hierarchical': False}
    if shown.get('backbone') == 'resnet50' and 'stride' not in shown:
        assumed |= {'stride': 8, 'dilation': True}
    return assumed


def _infer_config(state: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """Return the fields of `HCATConfig` that tensor names and shapes show."""

    def shape(name: str, axes: int) -> torch.Size:
        if name not in state:
            raise CheckpointError(f"{path}: tensor '{name}' is missing; is this an HCAT network?")
        if state[name].dim() != axes:
            raise CheckpointError(
                f"{path}: tensor '{name}' has shape {tuple(state[name].shape)}, "
                f'expected {axes} axes'
            )
        return state[name].shape

    encoder = 'featurefusion_network.encoder'
    layers = {int(m[1]) for k in state if (m := re.match(rf'{encoder}\.layers\.(\d{{1,4}})\.', k))}
    channels, channels_in = shape('input_proj.weight', 4)[:2]
    fields: dict[str, Any] = {
        **_backbone_fields(state, channels_in),
        'channels': channels,
        'ffn_channels': shape('featurefusion_network.decoder.layers.0.linear1.weight', 2)[0],
        'layers': next(n for n in itertools.count(1) if n not in layers),
        'sparsification': f'{encoder}.query_layer.norm.weight' in state,
        'correlation': 'correlation.weight' in state,
    }
    if fields['sparsification']:
        fields['sparse_vectors'] = shape('query_embed.weight', 2)[0]
    if f'{encoder}.layers.0.self_attn1.in_proj_weight' in state:
        fields['attention'] = 'self+cross'
    return fields


def _backbone_fields(state: dict[str, Tensor], channels: int) -> dict[str, Any]:
    """Return backbone and stride as far as tensors show them; nothing for a timm backbone."""
    body = 'backbone.0.body'
    if f'{body}.layer1.0.conv3.weight' in state:
        return {'backbone': 'resnet50'} | ({'stride': 8} if channels == 512 else {})
    if f'{body}.conv1.weight' in state:
        return {'backbone': 'resnet18', 'stride': 8 if channels == 128 else 16}
    stem = state.get('backbone.stem.weight')
    if stem is not None:
        return _STEMS.get((len(stem), channels), {})
    return {}


_STEMS: dict[tuple[int, int], dict[str, Any]] = {
    (32, 112): {'backbone': 'efficientnet_lite0', 'stride': 16},
    (32, 40): {'backbone': 'efficientnet_lite0', 'stride': 8},
    (32, 96): {'backbone': 'mobilenetv2_lightfc', 'stride': 16},
    (32, 32): {'backbone': 'mobilenetv2_lightfc', 'stride': 8},
    (16, 48): {'backbone': 'mobilenetv3_nanotrack_v2', 'stride': 16},
    (16, 96): {'backbone': 'mobilenetv3_nanotrack_v3', 'stride': 16},
    (16, 24): {'stride': 8},
}
"""Configuration fields of a backbone by the channels of its stem and of its features."""


def _check_tensors(expected: dict[str, Tensor], state: dict[str, Tensor], path: Path) -> None:
    """Raise CheckpointError that names missing, extra and misshapen tensors, up to 4 of each.

    Adds missing counts of training batches to `state`.
    """

    def listed(names: list[str]) -> str:
        more = f' and {len(names) - 4} more' if len(names) > 4 else ''
        return ', '.join(name[:200] for name in names[:4]) + more

    problems = []
    # Older PyTorch versions did not write this count of training batches, which is not used here.
    optional = {name for name in expected if name.endswith('.num_batches_tracked')}
    for name in optional - state.keys():
        state[name] = expected[name]
    if missing := sorted(expected.keys() - state.keys()):
        problems.append(f'missing tensors: {listed(missing)}')
    if extra := sorted(state.keys() - expected.keys()):
        problems.append(f'unexpected tensors: {listed(extra)}')
    wrong = [
        f'{name} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}'
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if wrong:
        problems.append(f'wrong shapes: {listed(wrong)}')
    if problems:
        raise CheckpointError(f'{path}: ' + '; '.join(problems))
