# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnx', reason='needs onnx')

import onnx
import torch
from torch import nn

from hcat_ros.network.onnx_graph import write_graph

# The tracing exporter warns that it is deprecated; the newer one writes too new an opset.
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')


def test_a_module_is_exported_in_evaluation_mode(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    path = tmp_path / 'graph.onnx'
    write_graph(module, (torch.zeros(1, 3, 8, 8),), ['image'], ['features'], path)
    assert not module.training
    written = onnx.load(path)
    assert [(o.domain, o.version) for o in written.opset_import] == [('', 16)]
    assert [node.op_type for node in written.graph.node] == ['Conv']
    assert [value.name for value in written.graph.input] == ['image']
    (features,) = written.graph.output
    assert features.name == 'features'
    assert [d.dim_value for d in features.type.tensor_type.shape.dim] == [1, 4, 6, 6]
