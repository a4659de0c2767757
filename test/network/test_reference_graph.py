# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

import onnx
import onnxruntime
import torch

from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.network.reference_graph import SEARCH_FILE, TEMPLATE_FILE, export_reference

# The tracing exporter warns that it is deprecated; the newer one writes too new an opset.
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')

SMALL: dict[str, Any] = {
    'channels': 32,
    'heads': 4,
    'ffn_channels': 48,
    'template_size': 64,
    'search_size': 128,
}
NETWORKS: dict[str, dict[str, Any]] = {
    'paper': {},
    'paper, self-attention': {'attention': 'self', 'sparsification': False},
    'paper, juxtaposed, stride 8': {'hierarchical': False, 'stride': 8, 'layers': 1},
    'lite0, all options': {
        'backbone': 'efficientnet_lite0',
        'correlation': True,
        'box_anchor': True,
        'mixing': 1,
    },
    'LightFC': {'backbone': 'mobilenetv2_lightfc', 'layers': 1},
    'lite0, self-attention': {'backbone': 'efficientnet_lite0', 'attention': 'self'},
}


def network(**fields: Any) -> HCAT:
    torch.manual_seed(5)
    model = HCAT(HCATConfig(**{**SMALL, **fields}))
    for parameter in model.parameters():
        if parameter.dim() == 4:
            torch.nn.init.kaiming_normal_(parameter, nonlinearity='relu')
    return model


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


@pytest.mark.parametrize('name', NETWORKS)
def test_the_reference_graphs_match_the_network(tmp_path: Path, name: str) -> None:
    model = network(**NETWORKS[name])  # in training mode: its dropout must not be exported
    export_reference(model, tmp_path)
    assert not any(module.training for module in model.modules())
    rng = torch.manual_seed(11)
    z, x = (torch.randn(1, 3, side, side, generator=rng) for side in (64, 128))
    with torch.inference_mode():
        logits, boxes = model(x, z)
    grid = model.config.search_grid
    features = session(tmp_path / TEMPLATE_FILE).run(['features'], {'template': z.numpy()})[0]
    found = session(tmp_path / SEARCH_FILE).run(
        ['scores', 'boxes'], {'search': x.numpy(), 'features': features}
    )
    scores = logits.softmax(2)[:, :, 0].reshape(1, grid, grid)
    np.testing.assert_allclose(found[0], scores, atol=1e-5, rtol=0)
    np.testing.assert_allclose(found[1], boxes, atol=1e-5, rtol=0)


def test_the_search_graph_has_the_authors_form(tmp_path: Path) -> None:
    model = network()
    export_reference(model, tmp_path)
    graph = onnx.load(tmp_path / SEARCH_FILE)
    onnx.checker.check_model(graph, full_check=True)
    assert [(o.domain, o.version) for o in graph.opset_import] == [('', 16)]
    shapes = {
        value.name: (
            value.type.tensor_type.elem_type,
            [d.dim_value for d in value.type.tensor_type.shape.dim],
        )
        for value in (*graph.graph.input, *graph.graph.output)
    }
    floats = onnx.TensorProto.FLOAT
    assert shapes == {
        'search': (floats, [1, 3, 128, 128]),
        'features': (floats, [1, 256, 4, 4]),
        'scores': (floats, [1, 8, 8]),
        'boxes': (floats, [1, 64, 4]),
    }
    # Projection, FS and the template branch's first query depend on the features.
    depends = {'features'}
    for node in graph.graph.node:
        if depends & set(node.input):
            depends |= set(node.output)
    convolutions = [node for node in graph.graph.node if node.op_type == 'Conv']
    assert sum(node.input[0] == 'features' for node in convolutions) == 1
    softmaxes = [node for node in graph.graph.node if node.op_type == 'Softmax']
    # FS, two in each of two layers, the decoder, the scores.
    assert len([node for node in softmaxes if depends & set(node.input)]) == 7


def test_exporting_does_not_change_the_network(tmp_path: Path) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_reference(model, tmp_path)
    assert isinstance(model.backbone, torch.nn.Module)
    assert not isinstance(model.backbone, torch.nn.Identity)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
