# SPDX-License-Identifier: Apache-2.0
"""Writes a PyTorch module as an ONNX graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 16


def write_graph(
    graph: nn.Module,
    args: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
) -> None:
    """Trace `graph` with `args` and write it as ONNX, with names for its inputs and outputs.

    The graph has opset 16 and the static shapes of `args`. BatchNorms are folded into convolutions
    and constants are folded; the arithmetic of shapes and paddings stays in the graph. Leaves the
    module in evaluation mode.
    """
    # torch.onnx.export restores the mode of the module, so set it here.
    graph.eval()
    with warnings.catch_warnings():
        # The tracer warns about every Python number, but shapes are static on purpose.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            graph,
            args,
            str(path),
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamo=False,  # the newer exporter writes opset 18 or later, TensorRT 8.5 reads 17
        )
