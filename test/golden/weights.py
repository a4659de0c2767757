# SPDX-License-Identifier: Apache-2.0
"""Deterministic weights for parity tests: every tensor is a function of its name, shape and a seed.

The golden outputs beside this file came from the reference network holding exactly these
values, so a network with the same tensor names and shapes must reproduce them.
"""

import zlib

import numpy as np


def tensor(name: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return the tensor called `name`, float32 (int64 zeros for `num_batches_tracked`)."""
    if name.endswith('num_batches_tracked'):
        return np.zeros(shape, np.int64)
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    leaf = name.rsplit('.', 1)[-1]
    if leaf == 'running_var':
        value = rng.uniform(0.6, 1.4, shape)
    elif leaf == 'running_mean':
        value = rng.normal(0.0, 0.2, shape)
    elif leaf in ('bias', 'in_proj_bias'):
        value = rng.normal(0.0, 0.1, shape)
    elif len(shape) == 1:  # affine weight of a BatchNorm or LayerNorm
        value = rng.uniform(0.8, 1.2, shape)
    else:
        fan_in = int(np.prod(shape[1:]))
        gain = 2.0 if len(shape) == 4 else 1.0
        value = rng.normal(0.0, np.sqrt(gain / fan_in), shape)
    if name == 'class_embed.layers.2.weight':
        value = value * 4.0  # spread the scores
    if name == 'bbox_embed.layers.2.bias':
        value = value + np.array([0.0, 0.0, -1.1, -1.1])
    return value.astype(np.float32)


def image(height: int, width: int, seed: int) -> np.ndarray:
    """Return a smooth random RGB image, uint8, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for cell, amplitude in ((64, 90.0), (16, 60.0), (4, 30.0)):
        coarse = rng.uniform(-1, 1, (height // cell + 2, width // cell + 2, 3))
        total += amplitude * coarse.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return np.clip(total + 128, 0, 255).astype(np.uint8)
