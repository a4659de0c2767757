# SPDX-License-Identifier: Apache-2.0
"""Writes tiny networks of NanoTrack's form as real ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hcat_ros.training.teachers import TeacherConfig

GAINS, OFFSETS = (-2.0, 3.0), (1.0, -2.0)
"""From a likeness to the logits of background and target."""


def nanotrack(folder: Path, colours: np.ndarray, cells: int = 16) -> TeacherConfig:
    """Writes a tracker of mean colours, with a score map of this many cells.

    colours: (K, 3), what each channel of the features makes of red, green and blue in 0..1. Its
    cells are those of 15 x 15 pixels, 16 apart; 15 cells a side are the last of 16.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = TeacherConfig(str(folder / 'backbone.onnx'), str(folder / 'head.onnx'))
    _backbone(Path(config.backbone), np.asarray(colours, np.float32))
    _head(Path(config.head), len(colours), cells)
    return config


def probability(likeness: np.ndarray | float) -> np.ndarray:
    """Softmax of the two logits."""
    background, target = (
        gain * np.asarray(likeness) + offset for gain, offset in zip(GAINS, OFFSETS)
    )
    return np.exp(target) / (np.exp(background) + np.exp(target))


def features_of(crops: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The features (V, K, g, g) of RGB crops (V, 16 g, 16 g, 3)."""
    count, side = len(crops), crops.shape[1] // 16
    blocks = crops.reshape(count, side, 16, side, 16, 3)[:, :, :15, :, :15]
    return (blocks.mean((2, 4)) / 255 @ np.asarray(colours).T).transpose(0, 3, 1, 2)


def _backbone(path: Path, colours: np.ndarray) -> None:
    channels = len(colours)
    kernel = np.broadcast_to(colours[:, :, None, None] / (225 * 255), (channels, 3, 15, 15))
    nodes = [
        helper.make_node('Conv', ['image', 'kernel'], ['middle'], strides=[16, 16]),
        # As in exported graphs: it takes a batch of 1 alone.
        helper.make_node('Reshape', ['middle', 'shape'], ['features']),
    ]
    constants = {'kernel': kernel, 'shape': np.array([1, 0, 0, 0], np.int64)}
    shape = (1, channels, 16, 16)
    values = {'image': (1, 3, 255, 255), 'middle': shape, 'features': shape}
    _save(path, nodes, constants, values, ['image'], ['features'])


def _head(path: Path, channels: int, cells: int) -> None:
    nodes = [
        helper.make_node('GlobalAveragePool', ['template'], ['mean']),
        helper.make_node('Conv', ['search', 'mean'], ['likeness']),
        helper.make_node('Mul', ['likeness', 'gains'], ['scaled']),
        helper.make_node('Add', ['scaled', 'offsets'], ['logits']),
        helper.make_node('Slice', ['logits', 'first', 'end', 'axes'], ['scores']),
        helper.make_node('Concat', ['scores', 'scores'], ['boxes'], axis=1),
    ]
    constants = {
        'gains': np.array(GAINS, np.float32).reshape(1, 2, 1, 1),
        'offsets': np.array(OFFSETS, np.float32).reshape(1, 2, 1, 1),
        'first': np.array([16 - cells] * 2, np.int64),
        'end': np.array([16, 16], np.int64),
        'axes': np.array([2, 3], np.int64),
    }
    values = {
        'template': (1, channels, 8, 8),
        'search': (1, channels, 16, 16),
        'scores': (1, 2, cells, cells),
        'boxes': (1, 4, cells, cells),
    }
    _save(path, nodes, constants, values, ['template', 'search'], ['scores', 'boxes'])


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    values: dict[str, tuple[int, ...]],
    inputs: list[str],
    outputs: list[str],
) -> None:
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
    # Old enough for any ONNX Runtime that the package takes.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
