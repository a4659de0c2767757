# SPDX-License-Identifier: Apache-2.0
"""Write tiny networks with NanoTrack's structure as real ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from graph_files import save_graph
from onnx import helper

from hcat_ros.training.teachers import TeacherConfig

GAINS, OFFSETS = (-2.0, 3.0), (1.0, -2.0)
"""Gains and offsets from a similarity to the logits of background and target."""


def nanotrack(
    folder: Path, colours: np.ndarray, cells: int = 16, sides: np.ndarray | None = None
) -> TeacherConfig:
    """Write a tracker that compares mean colours, with `cells` x `cells` points in its score map.

    colours: (K, 3), weights of each feature channel for red, green and blue in 0..1. A
    point's features are those of the 15 x 15 pixels right and below of it; 15 points a side are
    the last of 16. sides: (4, cells, cells), each point's output for the distances of the
    box's sides, by default 32 px.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = TeacherConfig(str(folder / 'backbone.onnx'), str(folder / 'head.onnx'))
    _backbone(Path(config.backbone), np.asarray(colours, np.float32))
    if sides is None:
        sides = np.full((4, cells, cells), 32.0)
    _head(Path(config.head), len(colours), cells, sides)
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
        # As in exported graphs: they accept a batch of 1 only.
        helper.make_node('Reshape', ['middle', 'shape'], ['features']),
    ]
    constants = {'kernel': kernel, 'shape': np.array([1, 0, 0, 0], np.int64)}
    shape = (1, channels, 16, 16)
    values = {'image': (1, 3, 255, 255), 'middle': shape, 'features': shape}
    save_graph(path, nodes, constants, values, ['image'], ['features'])


def _head(path: Path, channels: int, cells: int, sides: np.ndarray) -> None:
    nodes = [
        helper.make_node('GlobalAveragePool', ['template'], ['mean']),
        helper.make_node('Conv', ['search', 'mean'], ['likeness']),
        helper.make_node('Mul', ['likeness', 'gains'], ['scaled']),
        helper.make_node('Add', ['scaled', 'offsets'], ['logits']),
        helper.make_node('Slice', ['logits', 'first', 'end', 'axes'], ['scores']),
        helper.make_node('Identity', ['sides'], ['boxes']),
    ]
    constants = {
        'gains': np.array(GAINS, np.float32).reshape(1, 2, 1, 1),
        'offsets': np.array(OFFSETS, np.float32).reshape(1, 2, 1, 1),
        'first': np.array([16 - cells] * 2, np.int64),
        'end': np.array([16, 16], np.int64),
        'axes': np.array([2, 3], np.int64),
        'sides': np.asarray(sides, np.float32)[None],
    }
    values = {
        'template': (1, channels, 8, 8),
        'search': (1, channels, 16, 16),
        'scores': (1, 2, cells, cells),
        'boxes': (1, *np.shape(sides)),
    }
    save_graph(path, nodes, constants, values, ['template', 'search'], ['scores', 'boxes'])
