# SPDX-License-Identifier: Apache-2.0
"""Writes tiny ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    values: dict[str, tuple[int, ...]],
    inputs: list[str],
    outputs: list[str],
) -> None:
    """values: shapes of inputs and outputs, and optionally of inner tensors."""
    infos = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in values.items()
    }
    graph = helper.make_graph(
        nodes,
        path.stem,
        [infos.pop(name) for name in inputs],
        [infos.pop(name) for name in outputs],
        [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()],
        value_info=list(infos.values()),
    )
    # Old enough for any ONNX Runtime that the package supports.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
