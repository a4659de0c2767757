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
    """Write what `graph` does to `args`, with names for its inputs and outputs.

    Opset 16, shapes as those of `args`. BatchNorm is folded into convolutions, constants are
    folded; the arithmetic of shapes and paddings stays in the graph. Leaves the module in
    evaluation mode.
    """
    # Before the export, which returns the module to the mode in which it finds it.
    graph.eval()
    with warnings.catch_warnings():
        # The tracer warns of every Python number; shapes are static on purpose.
        warnings.simplefilter('ignore')
        torch.onnx.export(
            graph,
            args,
            str(path),
            opset_version=OPSET,
            input_names=inputs,
            output_names=outputs,
            dynamo=False,  # the newer exporter writes opset 18 and above, TensorRT 8.5 reads 17
        )
