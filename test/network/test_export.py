# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxslim', reason='needs onnxslim')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

import onnx
import torch

from hcat_ros.engines import load_engine
from hcat_ros.engines.self_test import self_test
from hcat_ros.models import (
    CARD_FILE,
    REFERENCE_FILE,
    SEARCH_FILE,
    TEMPLATE_FILE,
    WEIGHTS_FILE,
    Model,
    load_model,
)
from hcat_ros.network import HCAT, HCATConfig, export, load_checkpoint
from hcat_ros.network.export import ExportError, export_model
from hcat_ros.tracking import Tracker

# The tracing exporter warns that it is deprecated; the newer one writes too new an opset.
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')

SMALL: dict[str, Any] = {
    'backbone': 'efficientnet_lite0',
    'channels': 32,
    'heads': 4,
    'ffn_channels': 48,
    'layers': 1,
    'correlation': True,
    'box_anchor': True,
    'mixing': 1,
    'template_size': 64,
    'search_size': 128,
}
NETWORKS: dict[str, dict[str, Any]] = {
    'Baseline': {'backbone': 'resnet18', 'sparsification': False, 'hierarchical': False},
    'Baseline-SA, stride 8': {'backbone': 'resnet18', 'stride': 8, 'attention': 'self'},
    'NanoTrack v3, two layers': {'backbone': 'mobilenetv3_nanotrack_v3', 'layers': 2},
}


def network(**fields: Any) -> HCAT:
    torch.manual_seed(5)
    model = HCAT(HCATConfig(**{**SMALL, **fields}))
    for parameter in model.parameters():
        if parameter.dim() == 4:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity='relu')
    return model.eval()


def crops(model: HCAT) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    template, search = model.config.template_size, model.config.search_size
    return (
        rng.integers(0, 256, (template, template, 3), np.uint8),
        rng.integers(0, 256, (search, search, 3), np.uint8),
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the simplification of graphs, which takes most of an export's time."""
    monkeypatch.setattr(export.onnxslim, 'slim', onnx.load)


@pytest.fixture(scope='module')
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[HCAT, Path]:
    """A small network and the folder to which it was exported; do not change either."""
    model, folder = network(), tmp_path_factory.mktemp('models') / 'small'
    export_model(model, folder, card={'window_penalty': 0.3, 'licence': 'CC0'})
    return model, folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_computes_the_same(model: HCAT, folder: Path) -> None:
    """The engine predicts what the network predicts, on crops that the export has not seen."""
    template, search = crops(model)
    engine = load_engine(folder, 'onnxruntime')
    found = engine.search(search, engine.template(template))
    with torch.inference_mode():
        tensors = (model.normalise(torch.from_numpy(crop[None])) for crop in (search, template))
        logits, boxes = model(*tensors)
    grid = model.config.search_grid
    scores = logits[0].softmax(1)[:, 0].reshape(grid, grid)
    np.testing.assert_allclose(found.scores, scores, atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.boxes, boxes[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize('name', NETWORKS)
def test_exported_graphs_match_the_network(tmp_path: Path, name: str) -> None:
    model = network(**NETWORKS[name])
    differences = export_model(model, tmp_path / 'exported')
    assert set(differences) == {'scores', 'boxes'}
    assert max(differences.values()) <= 1e-4
    assert_computes_the_same(model, tmp_path / 'exported')
    with torch.inference_mode():  # the network really uses the template
        search = model.normalise(torch.from_numpy(crops(model)[1][None]))
        answers = [
            model(search, torch.randn(1, 3, 64, 64, generator=torch.manual_seed(seed)))
            for seed in (0, 1)
        ]
    assert (answers[0].logits - answers[1].logits).abs().max() > 1e-3


def test_the_lite0_export_with_all_options_matches_the_network(
    small: tuple[HCAT, Path],
) -> None:
    assert_computes_the_same(*small)


def test_the_default_resnet_export_matches_the_network(
    golden_network: HCAT, golden_model: Model
) -> None:
    assert_computes_the_same(golden_network, golden_model.folder)


@pytest.mark.parametrize('file', [TEMPLATE_FILE, SEARCH_FILE])
def test_graphs_have_opset_16_static_shapes_and_uint8_images(
    small: tuple[HCAT, Path], file: str
) -> None:
    graph = onnx.load(small[1] / file)
    onnx.checker.check_model(graph, full_check=True)
    assert [(o.domain, o.version) for o in graph.opset_import] == [('', 16)]
    crop = graph.graph.input[0]
    assert crop.name == 'crop'
    assert crop.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    for value in (*graph.graph.input, *graph.graph.output):
        shape = value.type.tensor_type.shape.dim
        assert all(d.HasField('dim_value') and d.dim_value > 0 for d in shape), value.name
        assert shape[0].dim_value == 1
    side = 64 if file == TEMPLATE_FILE else 128
    assert [d.dim_value for d in crop.type.tensor_type.shape.dim] == [1, side, side, 3]


def test_the_search_graph_takes_the_template_graphs_outputs_by_name(
    small: tuple[HCAT, Path],
) -> None:
    template, search = (onnx.load(small[1] / file).graph for file in (TEMPLATE_FILE, SEARCH_FILE))
    given = {value.name: value.type for value in template.output}
    taken = {value.name: value.type for value in search.input if value.name != 'crop'}
    assert given == taken
    assert [value.name for value in search.output] == ['scores', 'boxes']
    shapes = [[d.dim_value for d in o.type.tensor_type.shape.dim] for o in search.output]
    assert shapes == [[1, 8, 8], [1, 64, 4]]


def test_the_card_describes_the_export(small: tuple[HCAT, Path]) -> None:
    model, folder = small
    files = {TEMPLATE_FILE, SEARCH_FILE, REFERENCE_FILE, WEIGHTS_FILE}
    assert set(contents(folder)) == {*files, CARD_FILE}
    card = load_model(folder).card
    assert (card.name, card.template_size, card.search_size, card.grid) == ('small', 64, 128, 8)
    assert (card.window_penalty, card.size_smoothing, card.licence) == (0.3, 1.0, 'CC0')
    assert HCATConfig(**card.network) == model.config
    assert set(card.sha256) == files
    for file in files:
        assert card.sha256[file] == hashlib.sha256((folder / file).read_bytes()).hexdigest()


def test_an_exported_model_passes_its_self_test(small: tuple[HCAT, Path]) -> None:
    """In ONNX Runtime and in PyTorch."""
    model = load_model(small[1])
    for name in ('onnxruntime', 'torch'):
        self_test(load_engine(model, name), model)


def test_the_exported_weights_are_those_of_the_network(small: tuple[HCAT, Path]) -> None:
    model, folder = small
    found = load_checkpoint(folder / WEIGHTS_FILE)
    assert found.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor)


def test_a_tracker_runs_with_an_exported_model(small: tuple[HCAT, Path], picture: Any) -> None:
    tracker = Tracker(load_engine(small[1]))
    tracker.init(picture(240, 320, 0), (100, 80, 60, 80))
    track = tracker.update(picture(240, 320, 1))
    assert 0 <= track.score <= 1
    assert 0 <= track.box.cx <= 320
    assert 0 <= track.box.cy <= 240


@pytest.mark.usefixtures('quick')
def test_exporting_again_replaces_the_model(tmp_path: Path) -> None:
    folder = tmp_path / 'new' / 'model'  # neither folder exists yet
    lines: list[str] = []
    export_model(network(), folder, 'first', progress=lines.append)
    first = contents(folder)
    other = network(ffn_channels=16)
    export_model(other, folder, 'second')
    assert load_model(folder).card.name == 'second'
    assert set(contents(folder)) == set(first)
    assert contents(folder) != first
    assert_computes_the_same(other, folder)
    assert [p.name for p in folder.parent.iterdir()] == ['model']  # no temporary folder is left
    assert 'writing template.onnx' in lines


def broken_slim(path: str) -> Any:
    """A faulty simplifier that changes a bias of the graph."""
    graph = onnx.load(path)
    floats = onnx.TensorProto.FLOAT
    for tensor in graph.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.data_type == floats and values.ndim == 1 and values.size == 4:
            tensor.CopyFrom(onnx.numpy_helper.from_array(values + np.float32(0.5), tensor.name))
    return graph


@pytest.mark.usefixtures('quick')
@pytest.mark.parametrize('mistake', ['wrong graph', 'not a number', 'no export', 'wrong card'])
def test_an_export_that_fails_leaves_an_existing_model_intact(
    small: tuple[HCAT, Path], monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    _, folder = small
    before = contents(folder)
    model, card = network(ffn_channels=16), {}
    expected: type[Exception] = ExportError
    if mistake == 'wrong graph':
        monkeypatch.setattr(export.onnxslim, 'slim', broken_slim)
        message = 'differs from the network by .* in boxes, more than 0.0001'
    elif mistake == 'not a number':
        torch.nn.init.constant_(model.box_head.layers[2].bias, float('nan'))
        message = 'differs from the network by nan in boxes'
    elif mistake == 'no export':

        def fail(path: str) -> None:
            raise OSError('No space left on device')

        monkeypatch.setattr(export.onnxslim, 'slim', fail)
        expected, message = OSError, 'No space left'
    else:
        card, expected, message = {'colour': 'blue'}, TypeError, 'colour'
    with pytest.raises(expected, match=message):
        export_model(model, folder, card=card)
    assert contents(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ['small']


def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9'))
    with pytest.raises(ValueError, match=r'caf\\xe9: the name is not UTF-8; rename the file or'):
        export_model(network(), folder)
    assert not folder.exists()


@pytest.mark.usefixtures('quick')
def test_an_export_beyond_the_tolerance_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, 'TOLERANCE', -1.0)
    with pytest.raises(ExportError, match='more than -1'):
        export_model(network(), tmp_path / 'exported')
    assert list(tmp_path.iterdir()) == []
