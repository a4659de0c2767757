# SPDX-License-Identifier: Apache-2.0
"""Write tiny networks with LightFC's structure as real ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from graph_files import save_graph
from onnx import helper

from hcat_ros.training.teachers import TeacherConfig

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
"""ImageNet's mean and standard deviation, with which LightFC normalises images."""


def lightfc(
    folder: Path,
    colours: np.ndarray,
    sizes: np.ndarray | None = None,
    offsets: np.ndarray | None = None,
    trunk: str = '/backbone/conv',
) -> TeacherConfig:
    """Write a tracker that compares mean colours.

    colours: (K, 3), weights of each feature channel for the mean normalised colour of 16 x 16
    pixels. sizes, offsets: (2, 16, 16), output of these maps, by default 0.25 and 0.5.
    trunk: name of the graph's node that computes features of the search region.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = TeacherConfig(str(folder / 'backbone.onnx'), str(folder / 'tracking.onnx'), 'lightfc')
    colours = np.asarray(colours, np.float32)
    channels = len(colours)
    kernel = np.broadcast_to(colours[:, :, None, None] / 256, (channels, 3, 16, 16))
    node = helper.make_node('Conv', ['img', 'kernel'], ['z'], '/backbone/conv', strides=[16, 16])
    shapes = {'img': (1, 3, 128, 128), 'z': (1, channels, 8, 8)}
    save_graph(Path(config.backbone), [node], {'kernel': kernel}, shapes, ['img'], ['z'])

    nodes = [
        helper.make_node('Conv', ['x', 'kernel'], ['features'], trunk, strides=[16, 16]),
        helper.make_node('GlobalAveragePool', ['z'], ['mean'], '/fusion/mean'),
        helper.make_node('Conv', ['features', 'mean'], ['likeness'], '/fusion/conv'),
        helper.make_node('Sigmoid', ['likeness'], ['score_map'], '/head/sigmoid'),
        helper.make_node('Identity', ['sizes'], ['size_map'], '/head/size'),
        helper.make_node('Identity', ['offsets'], ['offset_map'], '/head/offset'),
    ]
    constants = {
        'kernel': kernel,
        'sizes': _map(0.25 if sizes is None else sizes),
        'offsets': _map(0.5 if offsets is None else offsets),
    }
    shapes = {
        'z': (1, channels, 8, 8),
        'x': (1, 3, 256, 256),
        'features': (1, channels, 16, 16),
        'likeness': (1, 1, 16, 16),
        'score_map': (1, 1, 16, 16),
        'size_map': (1, 2, 16, 16),
        'offset_map': (1, 2, 16, 16),
    }
    outputs = ['score_map', 'size_map', 'offset_map']
    save_graph(Path(config.head), nodes, constants, shapes, ['z', 'x'], outputs)
    return config


def normalised(crops: np.ndarray) -> np.ndarray:
    """RGB crops (V, side, side, 3) in LightFC's input format, (V, 3, side, side)."""
    return ((crops / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)


def features_of(crops: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The features (V, K, g, g) of RGB crops (V, 16 g, 16 g, 3)."""
    images, side = normalised(crops), crops.shape[1] // 16
    cells = images.reshape(len(crops), 3, side, 16, side, 16).mean((3, 5))
    return np.einsum('kc,vcyx->vkyx', colours, cells)


def _map(values: np.ndarray | float) -> np.ndarray:
    return np.broadcast_to(np.asarray(values, np.float32), (1, 2, 16, 16))
