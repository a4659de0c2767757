# SPDX-License-Identifier: Apache-2.0
"""ncnn graphs of every kind of network, written by the real pnnx and run by the real ncnn."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnxslim', reason='needs the exporter')
pytest.importorskip('pnnx', reason='needs pnnx')
pytest.importorskip('ncnn', reason='needs ncnn')

from hcat_ros.commands.add_ncnn import sha256
from hcat_ros.engines.ncnn_engine import NcnnEngine
from hcat_ros.models import Model, ModelCard
from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.network.export import ExportError
from hcat_ros.network.ncnn_graph import write_ncnn_graphs


def network(**fields: Any) -> HCAT:
    """A small network in which every layer affects the output."""
    torch.manual_seed(1)
    model = HCAT(HCATConfig(**{'channels': 32, 'ffn_channels': 64, **fields})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(
    'fields',
    [
        {},
        {'sparsification': False, 'hierarchical': False},
        {'sparsification': False, 'attention': 'self'},
        {'attention': 'self', 'heads': 4},
        {'correlation': True, 'sparsification': False, 'layers': 1},
        {'correlation': True, 'box_anchor': True, 'search_size': 288, 'template_size': 96},
        {'stride': 8, 'search_size': 128, 'template_size': 64, 'sparse_vectors': 1},
        {'backbone': 'efficientnet_lite0', 'stride': 8, 'search_size': 128, 'template_size': 64},
        {'backbone': 'mobilenetv3_nanotrack_v3', 'correlation': True, 'mixing': 2, 'layers': 1},
        {'backbone': 'mobilenetv2_lightfc', 'layers': 1},
    ],
    ids=str,
)
def test_ncnn_graphs_match_the_network(fields: dict[str, Any], tmp_path: Path) -> None:
    model = network(**fields)
    config = model.config
    files = write_ncnn_graphs(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    hashes = {file: sha256(tmp_path / file) for file in files}
    sizes = (config.template_size, config.search_size, config.search_grid)
    engine = NcnnEngine(Model(tmp_path, ModelCard('small', *sizes, hashes)), threads=1)
    rng = np.random.default_rng(0)
    template, search = (rng.integers(0, 256, (size, size, 3), np.uint8) for size in sizes[:2])
    found = engine.search(search, engine.template(template))
    with torch.inference_mode():
        z, x = (model.normalise(torch.from_numpy(crop[None])) for crop in (template, search))
        expected = model(x, z)
    scores = expected.logits.softmax(2)[0, :, 0].reshape(found.scores.shape).numpy()
    assert np.ptp(scores) > 1e-3
    assert np.abs(found.scores - scores).max() < 1e-5
    assert np.abs(found.boxes - expected.boxes[0].numpy()).max() < 1e-5


def pnnx_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Python find pnnx in the given folder."""
    spec = importlib.machinery.ModuleSpec('pnnx', None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: spec)


def test_the_error_for_a_missing_pnnx_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ExportError, match=r"pip install 'hcat_ros\[export-ncnn\]'"):
        write_ncnn_graphs(network(), tmp_path)
    pnnx_in(tmp_path / 'empty', monkeypatch)
    with pytest.raises(ExportError, match='pnnx is missing'):
        write_ncnn_graphs(network(), tmp_path)


@pytest.mark.parametrize(('script', 'code'), [('echo out of memory >&2; exit 3', 3), ('true', 0)])
def test_the_error_for_a_failing_pnnx_quotes_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, code: int
) -> None:
    (tmp_path / 'bin').mkdir()
    program = tmp_path / 'bin' / 'pnnx'
    program.write_text(f'#!/bin/sh\n{script}\n')
    program.chmod(0o755)
    pnnx_in(program.parent, monkeypatch)
    with pytest.raises(
        ExportError, match=f'pnnx failed on template.ncnn with code {code}'
    ) as error:
        write_ncnn_graphs(network(), tmp_path)
    assert ('out of memory' in str(error.value)) == (code == 3)
    assert [path.name for path in tmp_path.iterdir()] == ['bin']
